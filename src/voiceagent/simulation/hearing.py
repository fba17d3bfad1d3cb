"""What must hold of the user's side: no word lost or doubled, no turn without its last word, and history as it was heard."""

from typing import Any

from voiceagent import effects, events
from voiceagent.simulation.books import Books, EpochBook
from voiceagent.simulation.checks import on
from voiceagent.timeline import TransitionRecord, TurnRecord

WORDS_OFF = 2
DEAD_MIC_S = 3.0
BACKCHANNELS = frozenset({"yeah", "right", "okay", "mmhm", "uhhuh"})
GROWING_OFF = 0.25
"""Of a phrase whose audio is not all there its pace is a guess."""


# ------------------------------------------------------------------------------------------ turns and history
@on("turn", "METRICS: one terminal record per turn")
def one_last_word(books: Books, turn: TurnRecord) -> str | None:
    """A turn ends once."""
    return f"turn {turn.turn} has a second record" if turn.turn in books.turns else None


@on("turn", "METRICS: segments tile the gap; PEERS 19: no negative latency")
def gap_is_tiled(books: Books, turn: TurnRecord) -> str | None:
    """The segments sum to the gap, and nothing is negative."""
    gap = turn.gap
    if gap is None:
        return None
    if min(gap.segments_us.values(), default=0) < 0 or gap.hidden_us < 0:
        return f"turn {turn.turn} has a negative segment: {gap.segments_us}"
    if sum(gap.segments_us.values()) - gap.gap_us != gap.residual_us:
        return f"turn {turn.turn}: the segments and the residual do not sum to the gap"
    if not books.clock_jumped and (gap.residual_us or gap.gap_us < 0):
        return f"turn {turn.turn}: gap {gap.gap_us}, residual {gap.residual_us}"
    return None


@on("turn", "PEERS 18: completed means heard")
def completed_is_heard(books: Books, turn: TurnRecord) -> str | None:
    """A turn that is called completed was played to its last sample."""
    if turn.outcome not in {"completed", "resumed"}:
        return None
    played = books.browser.playback.played.get(turn.epoch, 0)
    made = books.book(turn.epoch).made
    return None if made and played >= made else f"turn {turn.turn}: {played} of {made} samples were heard"


@on("after", "DESIGN 6: history = heard; PEERS 14")
def history_is_what_was_heard(books: Books, _: None) -> str | None:
    """What is remembered of a reply is what was played of it, give or take two words."""
    past = books.conversation.past
    if len(past) and (not books.past_seen or past[-1] is not books.past_seen[-1]):
        known = {id(turn) for turn in books.past_seen}
        fresh = [turn for turn in past if id(turn) not in known]
        books.past_seen = tuple(past)
        for turn in fresh:
            if wrong := _misremembered(books, turn):
                return wrong
    return None


def _misremembered(books: Books, turn: Any) -> str | None:
    record = books.turns.get(turn.number)
    if not turn.reply or record is None:
        return None
    book = books.book(record.epoch)
    if not book.opened or book.filler:
        return f"turn {turn.number} remembers words of epoch {book.epoch}, whose gate was never opened"
    phrases = spoken(books, book)
    told = books.voice.heard_words(phrases, book.reported)
    played = books.voice.heard_words(phrases, books.browser.playback.played.get(book.epoch, 0))
    words, off = len(turn.reply.split()), words_off(books, book)
    if told - off <= words <= played + off:
        return None
    return f"turn {turn.number} remembers {words} words, {played} were played ({told} as reported)"


def spoken(books: Books, book: EpochBook) -> list[tuple[str, int]]:
    """The phrases where they truly begin: a voice model does not tell, and the ledger's beginnings are estimates."""
    if books.settings.mode == "cascade":
        return book.phrases
    at, phrases = 0, []
    for text, _ in book.phrases:
        phrases.append((text, at))
        at += books.voice.samples(text)
    return phrases


def words_off(books: Books, book: EpochBook) -> float:
    """How many words the ledger may be wrong by: two, and more in a phrase whose length nobody could know yet."""
    known = book.made is not None and not books.failed(book.epoch)
    if books.settings.mode == "realtime" and not books.voice.tells_words:
        return WORDS_OFF + GROWING_OFF * books.voice.heard_words(spoken(books, book), book.reported)
    if books.voice.tells_words or known or not book.phrases:
        return WORDS_OFF
    text, first = book.phrases[-1]
    return WORDS_OFF + GROWING_OFF * books.voice.heard_words([(text, 0)], max(0, book.reported - first))


# ------------------------------------------------------------------------------------------ audio in, memory
@on("stt", "PEERS 17 and 22: no sample to the STT twice")
def heard_once(books: Books, what: tuple[int, list[tuple[int, int]], int]) -> str | None:
    """Audio goes to the STT in its order, and none of it twice."""
    item, ranges, _ = what
    last = books.stt_last
    for first, after in ranges:
        if first < last - 1:  # a step may be cut in two
            return f"item {item} gets step {first} after {last - 1}"
        last = max(last, after)
    books.stt_last = last
    return None


@on("stt", "DESIGN: no audio between the commit and the next item; PEERS 22")
def nothing_after_the_commit(books: Books, what: tuple[int, list[tuple[int, int]], int]) -> str | None:
    """An item that is committed gets no more audio."""
    item = books.items[what[0]]
    return f"item {what[0]} was committed" if item.committed else None


@on("fact", "PEERS 17: a pre-roll; nothing the user says is lost")
def nothing_said_is_lost(books: Books, fact: events.Fact) -> str | None:
    """Of an utterance that ended a turn, the STT has had every voiced step, from the first one on."""
    if not isinstance(fact, events.VoiceEnded):
        return None
    first, last, torn = books.ears.ended.popleft()
    if not books.item_in_utterance or books.clock_jumped or torn:
        return None
    if books.leaf != "transcribing_open" or books.passed_over or not books.settings.barge_in:
        return None
    given = sorted(span for item in books.items.values() if not item.void for span in item.ranges)
    for sound in books.ears.speech(first, last):
        at = max(sound.start, first)
        for begin, end in given:
            if begin <= at:
                at = max(at, end)
        if at < min(sound.end, last):
            return f"the STT was not given step {at} of {sound.label} from {sound.start} to {sound.end}"
    return None


@on("fact", "FAULTS F04: a final counts once, by its item")
def a_final_counts_once(books: Books, fact: events.Fact) -> str | None:
    """A transcript of an item that has one already does nothing."""
    if isinstance(fact, events.FinalTranscript) and books.told_twice and books.effects:
        return f"item {fact.item} was told again, and that led to {type(books.effects[0]).__name__}"
    return None


@on("step", "PEERS 1: a timer only bounds a failure", mode="cascade")
def released_by_its_words(books: Books, step: TransitionRecord) -> str | None:
    """A turn waits for its deadline only while a transcript is missing."""
    if step.trigger != "stt_late" and step.reason != "deadline":
        return None
    if any(item.committed and not item.final and not item.void for item in books.items.values()):
        return None
    return "every transcript had come, and it waited until the deadline"


@on("start", "ISSUE 3: one reply to all of it; PEERS 14", mode="cascade")
def answers_what_was_said(books: Books, effect: Any) -> str | None:
    """A reply is asked for with the words of its turn: each item's once, in their order."""
    if isinstance(effect, effects.StartFiller) or effect.canned:
        return None
    asked = effect.messages[-1]["content"]
    told = books.words.get(effect.turn, "")
    if asked != told:
        return f"turn {effect.turn} said {told!r}, and is answered to {asked!r}"
    items = [item for item in books.items.values() if not item.void and books.turn_of(item.turn) == effect.turn]
    if any(books.turn_of(turn) == effect.turn for turn in books.typed) or any(item.text is None for item in items):
        return None
    said = " ".join(filter(None, (item.text for item in items)))
    return None if asked == said else f"the items of turn {effect.turn} say {said!r}, and it is answered to {asked!r}"


@on("promote", "DESIGN: the gate opens if the transcript still matches; FAULTS F20")
def promoted_for_the_same_words(books: Books, book: EpochBook) -> str | None:
    """An early reply becomes the reply only if it answers the words that the turn ended with."""
    asked, told = bare(book.asks), bare(books.words.get(book.turn, ""))
    return None if asked == told else f"epoch {book.epoch} answers {asked!r}, and the turn is {told!r}"


def bare(text: str) -> str:
    """The letters and digits of a text."""
    return "".join(character for character in text.casefold() if character.isalnum())


@on("after", "ISSUE 3: when the user goes on, the early reply is dropped")
def speech_voids_a_guess(books: Books, _: None) -> str | None:
    """While the user speaks in a turn of their own, no early reply to it is alive."""
    if not isinstance(books.fact, events.VoiceOn | events.VoiceResumed) or books.leaf != "transcribing_open":
        return None
    for book in list(books.epochs.values())[-3:]:
        if book.speculative and not book.cancelled:
            return f"epoch {book.epoch} is alive, and the user goes on"
    return None


@on("step", "ISSUE 3: backchannels resume")
def backchannels_do_not_cut(books: Books, step: TransitionRecord) -> str | None:
    """No listening noise interrupts, unless it answers a question or lasts."""
    if step.trigger not in {"confirmed", "confirmed_ended"} or step.reason not in {"words", "stop"}:
        return None
    return f"{books.last_words!r} interrupted" if bare(books.last_words) in BACKCHANNELS else None


@on("send", "PEERS 12: a microphone that dies ends the turn")
def a_dead_microphone_ends_the_turn(books: Books, _: Any) -> str | None:
    """No utterance stays open for long after the last frame."""
    silent_s = (books.loop.now_us - books.session._frame_us) / 1e6
    if books.ears.in_utterance and silent_s > books.settings.mic_timeout_s + DEAD_MIC_S:
        return f"no frame for {silent_s:g} s, and the utterance is open"
    return None
