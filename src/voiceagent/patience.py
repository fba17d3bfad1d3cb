"""How long a silence ends a turn: by the words said, the caller's own pauses, a dial, and a model of the voice if any."""

from collections import deque
from dataclasses import dataclass

from voiceagent.lexicon import Ending, Lexicon

SHARE = {Ending.COMPLETE: 0.8, Ending.QUESTION: 0.7}
"""Of the usual wait, after words that are complete: a question more clearly hands the turn over than a statement."""
QUESTION_MARKS = ("?", "？")
"""Only a transcript that has one knows from the voice that a question has ended: "could you send me" goes on."""
EXTRA_MS = {
    Ending.NEUTRAL: 350,  # "find me a hotel near the old town": as many go on as do not
    Ending.EMPTY: 250,  # the words are not there yet, or there are none
    Ending.UNFINISHED: 900,  # "and the ..." goes on within some 1.4 s, if it goes on at all
    Ending.HESITATION: 1_200,  # "um" says: I am not done, and the word is still to be found
    Ending.NUMBER: 1_000,  # a card is looked at between two groups
    Ending.SPELLING: 800,  # letters come slowly, but steadily
}
"""On top of the usual wait, after words that are not complete."""
FRAGMENT_WORDS, FRAGMENT_MS = 6, 700
"""So few words that say neither that they are whole nor that they are not ("my daughter's school") are mostly a beginning,
unless they answer a question of the agent, or ask for something ("tell me a joke")."""
SHORTEST_COMPLETE_MS = 300
"""Complete words wait for so long at least (or as long as is usual, if less): people pause after sentences as well."""
LONG_SPEECH_MS, LONG_EXTRA_MS = 6_000, 150
"""Who has talked for so long is telling something, and pauses longer between two sentences."""
PAUSES_KEPT = 24
"""Pauses of a caller that are remembered; older ones say little."""
PAUSES_NEEDED = 3
"""So many pauses make a habit."""
FADE = 0.9
"""The weight of a pause against that of the next one."""
PAUSE_QUANTILE = 0.9
"""The caller's pause that the wait must outlast: one in ten may be longer."""
PAUSE_FACTOR, PAUSE_MARGIN_MS = 1.15, 60
"""By how much it must be outlasted: the pauses seen are those that were short enough not to end the turn."""
LONGEST_HABIT_MS = 1_500
"""However slowly somebody talks, complete words wait no longer than so."""
SURE_MS = 200
"""The wait when an acoustic model is certain that the turn is over, where the words do not say otherwise."""
UNSURE_EXTRA_MS = 600
"""On top of the usual wait when the model is certain that it goes on."""
EVEN = 0.5
"""The probability at which a model says nothing."""
SHORTEST_MS, LONGEST_MS = 120, 4_000
"""No wait is shorter than a stop consonant, or so long that the line seems dead."""

_BY_HABIT = (Ending.COMPLETE, Ending.NEUTRAL, Ending.EMPTY)
_DICTATED = (Ending.NUMBER, Ending.SPELLING)
"""Who has dictated in a turn goes on dictating in it, also where a piece looks whole."""
_NOT_DONE = (Ending.UNFINISHED, Ending.HESITATION, Ending.NUMBER, Ending.SPELLING)


@dataclass(frozen=True, slots=True)
class Wait:
    """The silence that ends a turn, and what decided: an ending's name, "caller", "model" or "fixed"."""

    silence_ms: int
    reason: str


class Patience:
    """The endpoint of one session's turns. `dial` may be set at any time: 0 is fast, 0.5 neutral, 1 patient."""

    def __init__(self, *, endpoint_ms: int, adapts: bool, dial: float, lexicon: Lexicon) -> None:
        self.dial = dial
        self._endpoint_ms, self._adapts, self._lexicon = endpoint_ms, adapts, lexicon
        self._pauses_ms: deque[int] = deque(maxlen=PAUSES_KEPT)
        self._dictates = False
        self._answers = False

    def next_turn(self, *, answers: bool = False) -> None:
        """Another turn begins, perhaps in answer to a question; what was being dictated is over."""
        self._dictates = False
        self._answers = answers

    def pause(self, silence_ms: int) -> None:
        """Note a pause of the caller inside a turn that went on."""
        self._pauses_ms.append(silence_ms)

    def wait(self, text: str | None, *, spoken_ms: int, probability: float | None = None) -> Wait:
        """Return the silence that ends a turn of these words; `probability` is a model's, that the turn is over.

        Where there are no words to listen to (`text` is None) it is the setting, the caller's habit, and the dial.
        """
        if not self._adapts:
            return Wait(self._endpoint_ms, "fixed")
        ending = self._lexicon.ending(text or "")
        self._dictates = self._dictates or ending in _DICTATED
        wait_ms, reason = float(self._endpoint_ms), "unheard"
        if text is not None:
            wait_ms, reason = self._by_words(text, ending, spoken_ms), ending.value
        if ending in _BY_HABIT and self._habit_ms() > wait_ms:
            wait_ms, reason = self._habit_ms(), "caller"
        if probability is not None:
            heard_ms = self._by_voice(ending, wait_ms, min(1.0, max(0.0, probability)))
            wait_ms, reason = heard_ms, "model" if heard_ms != wait_ms else reason
        return Wait(round(min(LONGEST_MS, max(SHORTEST_MS, wait_ms * self._scale()))), reason)

    def _by_words(self, text: str, ending: Ending, spoken_ms: int) -> float:
        base_ms = self._endpoint_ms
        if not self._lexicon.has_words or (ending is Ending.QUESTION and not text.rstrip().endswith(QUESTION_MARKS)):
            return base_ms
        if ending in SHARE:
            return max(min(base_ms, SHORTEST_COMPLETE_MS), base_ms * SHARE[ending])
        if ending is Ending.NEUTRAL and self._dictates:
            return base_ms + EXTRA_MS[Ending.NUMBER]
        if ending is Ending.NEUTRAL and len(text.split()) <= FRAGMENT_WORDS:
            whole = self._answers or self._lexicon.requests(text)
            return base_ms + (0 if whole else FRAGMENT_MS)
        long_ms = LONG_EXTRA_MS if ending is Ending.NEUTRAL and spoken_ms >= LONG_SPEECH_MS else 0
        return base_ms + EXTRA_MS[ending] + long_ms

    def _habit_ms(self) -> float:
        """Return what outlasts nearly all of the caller's pauses, the later ones counting more; 0 if too few are known."""
        if len(self._pauses_ms) < PAUSES_NEEDED:
            return 0
        newest_first = reversed(self._pauses_ms)
        weighted = sorted((pause_ms, FADE**age) for age, pause_ms in enumerate(newest_first))
        wanted = PAUSE_QUANTILE * sum(weight for _, weight in weighted)
        reached = 0.0
        for pause_ms, weight in weighted:
            reached += weight
            if reached >= wanted:
                return min(LONGEST_HABIT_MS, pause_ms * PAUSE_FACTOR + PAUSE_MARGIN_MS)
        return min(LONGEST_HABIT_MS, weighted[-1][0] * PAUSE_FACTOR + PAUSE_MARGIN_MS)

    def _by_voice(self, ending: Ending, wait_ms: float, probability: float) -> float:
        """Draw the wait towards what a model of the voice says, the more the surer it is."""
        if probability >= EVEN:
            target_ms = float(self._endpoint_ms) if ending in _NOT_DONE else float(min(SURE_MS, self._endpoint_ms))
            share = (probability - EVEN) / (1 - EVEN)
        else:
            target_ms = max(wait_ms, float(self._endpoint_ms + UNSURE_EXTRA_MS))
            share = (EVEN - probability) / EVEN
        return wait_ms + (target_ms - wait_ms) * share

    def _scale(self) -> float:
        """Return the dial as a factor: 0.6 at 0, 1 at 0.5, 2 at 1, on one parabola."""
        dial = min(1.0, max(0.0, self.dial))
        return 0.6 + 0.2 * dial + 1.2 * dial * dial
