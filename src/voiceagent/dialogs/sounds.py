"""From words to sounds with true times, and to what the ears notice of each and when: drawn by a dialog's seed."""

import random
import re
from dataclasses import dataclass, replace

import numpy as np

from voiceagent.dialogs.material import Murmur, Noise, Utterance
from voiceagent.ear_delays import DELAYS_MS, QUANTILES
from voiceagent.simulation.script import STEP_MS, Label, Segment, Word, word_steps

FRAME_STEPS = 2
SOUND_STEPS = 6  # what the ears need to call something a sound
PAUSE_MS = 100  # the pause whose delay was measured
MEDIAN_PAUSE_MS, PAUSE_SIGMA, LEAST_PAUSE_MS, MOST_PAUSE_MS = 400.0, 0.6, 120, 2_500
"""Mid-turn pauses in spontaneous speech are lognormal, about so."""
FINISHED_PAUSE_MS = (250, 700)
"""Those after words that could have been the end are shorter: who pauses longer there is asked something."""
LEVEL_NOISE_DB = 2.0
ECHO_AS_SPEECH = 0.3
RAISED_DB = 2.0  # who speaks against a voice raises their own
STOP_MS = (270, 540)  # "stop", "wait", "no"
DIPS = {None: 0.015, 30: 0.015, 20: 0.03, 10: 0.06}
"""How often, a word, the level falls within speech for so long that the ears take it for a pause."""
DIP_STEPS = (10, 16)
FAINT_DB = 7.0  # what stands out of the noise by less is missed by half
CLEAN_SNR_DB = 45
DIGITS = {
    "zero": "0", "oh": "0", "one": "1", "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7",
    "eight": "8", "nine": "9",
}  # fmt: skip
ASKING = frozenset(
    [
        "what",
        "how",
        "can",
        "could",
        "is",
        "are",
        "do",
        "does",
        "did",
        "where",
        "when",
        "which",
        "who",
        "why",
        "would",
        "will",
    ]
)


@dataclass(frozen=True, slots=True)
class Sound(Segment):
    """A sound of which is known when the ears notice it; all in steps. `gate_at`, `voice_at`: None is never."""

    heard_from: int = 0
    heard_to: int = 0
    text: str = ""  # of a sound without words: what it is
    gate_at: int | None = None
    voice_at: int | None = None


def drawn_ms(condition: str, what: str, draw: random.Random) -> float:
    """A delay as the real ears show it: linear between the measured quantiles."""
    known, at = DELAYS_MS[condition][what], draw.random()
    return float(np.interp(at, QUANTILES, known))


def condition(snr_db: float | None, echo_db: int | None, level_db: float = 0.0) -> str | None:
    """Under which of the measured conditions a sound is heard; None: it hardly stands out of the noise."""
    if echo_db is not None:
        return f"echo {echo_db} dB"
    above_db = (CLEAN_SNR_DB if snr_db is None else snr_db) + level_db
    if above_db < FAINT_DB:
        return None
    return "clean" if above_db >= 40 else "30 dB" if above_db >= 25 else "20 dB" if above_db >= 15 else "10 dB"


def on_a_frame(start: int, delay_ms: float) -> int:
    """The step after `start` at whose end a frame ends and that is nearest to the delay: frames are part of what was measured."""
    steps = round((start * STEP_MS + delay_ms) / (FRAME_STEPS * STEP_MS)) * FRAME_STEPS
    return max(start + 1, steps)


class Mouth:
    """Whoever makes a sound in this room: draws lengths, levels, and what the ears notice."""

    def __init__(self, draw: random.Random, *, snr_db: int | None, punctuated: bool, dips: bool = True) -> None:
        self._draw, self._snr_db, self._punctuated, self._dips = draw, snr_db, punctuated, dips

    # ------------------------------------------------------------------------------ what is said
    def say(
        self, said: Utterance, start: int, label: Label = "speech", *, level_db: float = 0.0, echo_db: int | None = None
    ) -> list[Sound]:
        """The sounds of an utterance, one for each stretch between two silences."""
        draw, at, sounds = self._draw, start, []
        level_db = draw.gauss(level_db, LEVEL_NOISE_DB)
        pieces = len(said.pieces)
        for number, piece in enumerate(said.pieces):
            texts = self._written(piece.words, last=number == pieces - 1, asking=_asks(said))
            ends, at_word, words = [], at, []
            for word, text in zip(piece.words, texts, strict=True):
                end = at_word + self._steps(word, bare=said.bare)
                words.append(Word(text, at_word, end))
                dips = (
                    self._dips
                    and not said.bare
                    and len(words) < len(piece.words)
                    and draw.random() < DIPS[self._snr_db]
                )
                at_word = end + (draw.randint(*DIP_STEPS) if dips else 0)
                if dips:
                    ends.append(len(words))
            for first, after in zip([0, *ends], [*ends, len(words)], strict=True):
                sounds.append(self._noticed(label, tuple(words[first:after]), level_db, echo_db))
            at = words[-1].end + self._pause_steps(piece.pause)
        return sounds

    def murmur(self, murmur: Murmur, start: int) -> Sound:
        """A backchannel: a little softer than speech."""
        steps = round(self._draw.uniform(murmur.least_ms, murmur.most_ms) / STEP_MS)
        texts = self._written(tuple(murmur.text.split()), last=True, asking=False)
        bounds = [start + round(steps * part / len(texts)) for part in range(len(texts) + 1)]
        words = tuple(Word(text, *span) for text, *span in zip(texts, bounds, bounds[1:], strict=False))
        return self._noticed("backchannel", words, self._draw.gauss(-2.0, LEVEL_NOISE_DB), None)

    def noise(self, noise: Noise, start: int) -> Sound:
        """A cough or a tic."""
        draw = self._draw
        end = start + max(1, round(draw.uniform(noise.least_ms, noise.most_ms) / STEP_MS))
        text = draw.choice(noise.texts)
        speech = draw.random() < noise.as_speech
        words = (Word(text, start, end),) if text else ()
        label: Label = "cough" if noise.most_ms > 300 else "tic"
        return self._notice(
            Sound(label, start, end, words, draw.gauss(-3.0, 4.0), text=noise.name), None, speech=speech
        )

    def echo(self, reply: str, start: int) -> Sound:
        """A piece of the agent's own voice that passes the gate; now and then it is heard as speech, and written down."""
        draw, words = self._draw, reply.split()
        end, first = start + draw.randint(8, 30), draw.randrange(max(1, len(words) - 2))
        text = " ".join(words[first : first + 2])
        sound = Sound("echo", start, end, (Word(text, start, end),), draw.gauss(-8.0, 4.0))
        return self._notice(sound, None, speech=draw.random() < ECHO_AS_SPEECH)

    # ------------------------------------------------------------------------------ lengths and texts
    def _steps(self, word: str, *, bare: bool) -> int:
        if bare:
            return round(self._draw.uniform(*STOP_MS) / STEP_MS)
        return word_steps(word.lower(), self._draw)

    def _pause_steps(self, kind: str) -> int:
        draw = self._draw
        if kind == "finished":
            return round(draw.uniform(*FINISHED_PAUSE_MS) / STEP_MS)
        if kind == "unfinished":
            pause_ms = MEDIAN_PAUSE_MS * draw.lognormvariate(0, PAUSE_SIGMA)
            return round(min(MOST_PAUSE_MS, max(LEAST_PAUSE_MS, pause_ms)) / STEP_MS)
        return 0

    def _written(self, words: tuple[str, ...], *, last: bool, asking: bool) -> list[str]:
        """How this session's STT writes a piece: plain words, or with capitals, digits and a guess at the punctuation."""
        if not self._punctuated:
            return [re.sub(r"[^\w'@#-]|\.$", "", word.replace(".", "")).lower() or word for word in words]
        texts = [DIGITS[word] if _dictated(words, number) else word for number, word in enumerate(words)]
        texts[0] = texts[0][:1].upper() + texts[0][1:]
        if texts[-1][-1].isalnum() and len(texts[-1]) > 1:
            texts[-1] += (
                ("?" if asking else ".") if last else self._draw.choice(("", "", "", ",", ",", ".", ".", "..."))
            )
        return texts

    # ------------------------------------------------------------------------------ what is noticed
    def _noticed(self, label: Label, words: tuple[Word, ...], level_db: float, echo_db: int | None) -> Sound:
        sound = Sound(label, words[0].start, words[-1].end, words, level_db)
        return self._notice(sound, echo_db, speech=True)

    def _notice(self, sound: Sound, echo_db: int | None, *, speech: bool) -> Sound:
        draw, start, end = self._draw, sound.start, sound.end
        kind = condition(self._snr_db, echo_db, min(0.0, sound.level_db + 3))
        if kind is None:
            if draw.random() < 0.5:
                return Sound(sound.label, start, end, (), sound.level_db)  # nobody hears it, nor writes it down
            kind = "10 dB"
        gate_at = on_a_frame(start, drawn_ms(kind, "sound", draw))
        voice_at = max(gate_at, on_a_frame(start, drawn_ms(kind, "voice", draw)))
        lag = on_a_frame(end, drawn_ms(kind, "pause", draw)) - end - PAUSE_MS // STEP_MS
        heard_from = start + max(0, gate_at - start - SOUND_STEPS - 1)
        heard_to = max(start + 1, end + lag)
        return replace(
            sound, heard_from=min(heard_from, heard_to - 1), heard_to=heard_to,
            gate_at=gate_at if gate_at <= heard_to else None,
            voice_at=voice_at if speech and voice_at <= heard_to else None,
        )  # fmt: skip


def _dictated(words: tuple[str, ...], number: int) -> bool:
    """Whether a word is one digit of several, or all that is said: "one more thing" is written as it is."""
    around = words[max(0, number - 1) : number] + words[number + 1 : number + 2]
    alone = len(words) == 1 and words[0] != "oh"
    return words[number] in DIGITS and (alone or any(word in DIGITS for word in around))


def _asks(said: Utterance) -> bool:
    first = re.sub(r"\W", "", said.text.split()[0]).lower()
    return said.text.endswith("?") or (first in ASKING and not said.text.endswith("."))
