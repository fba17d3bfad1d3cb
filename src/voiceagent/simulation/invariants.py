"""What must hold of the machine, of every reply and its gate, and of the session's end: each rule one small function."""

from collections.abc import Mapping
from typing import Any

from voiceagent import effects, events, protocol
from voiceagent.simulation.books import Books, EpochBook
from voiceagent.simulation.checks import on
from voiceagent.simulation.playback import Track
from voiceagent.states import TABLE, Leaf
from voiceagent.timeline import TransitionRecord

ROWS = {(leaf.value, trigger.value): (target or leaf).value for leaf, trigger, target in TABLE}


# ------------------------------------------------------------------------------------------ the machine
@on("step", "DESIGN: states only by the table; METRICS: replay")
def by_the_table(books: Books, step: TransitionRecord) -> str | None:
    """Each step is a row of the table and begins where the last one ended."""
    before = books.steps[-1].target if books.steps else Leaf.LISTENING.value
    if step.source != before:
        return f"it was in {before}, not in {step.source}"
    if ROWS.get((step.source, step.trigger)) != step.target:
        return f"{step.source} --{step.trigger}--> {step.target} is no row of the table"
    return None


@on("step", "METRICS: gapless seq")
def numbered_without_a_gap(books: Books, step: TransitionRecord) -> str | None:
    """The records' numbers have no gap."""
    return None if step.seq == len(books.steps) + 1 else f"record {step.seq} follows {len(books.steps)}"


@on("step", "METRICS: spans tile the session; PEERS 19")
def spans_tile(books: Books, step: TransitionRecord) -> str | None:
    """The time in a leaf is the time since it was entered."""
    entered_us = next((past.at_us for past in reversed(books.steps) if past.target != past.source), books.began_us)
    dwell_us = books.loop.now_us - entered_us
    return None if step.dwell_us == dwell_us else f"{step.dwell_us} us told, {dwell_us} passed in {step.source}"


@on("step", "DESIGN: every leaf has a deadline; PEERS 12")
def left_by_its_deadline(books: Books, step: TransitionRecord) -> str | None:
    """No leaf lasts longer than its settings say."""
    limit_s = longest_s(books)[step.source]
    if limit_s is None or step.dwell_us <= round(limit_s * 1e6):
        return None
    return f"{step.dwell_us / 1e6:g} s in {step.source}, at most {limit_s:g} were allowed"


def longest_s(books: Books) -> Mapping[str, float | None]:
    """How long each leaf may last by the settings; speaking lasts as long as there is something to say."""
    if not books.longest_s:
        s = books.settings
        books.longest_s = {
            Leaf.LISTENING.value: s.idle_s + s.ask_after_s,
            Leaf.TRANSCRIBING_OPEN.value: s.max_turn_s,
            Leaf.TRANSCRIBING_ENDED.value: s.stt_timeout_s,
            Leaf.THINKING.value: 2 * s.reply_timeout_s + s.flush_ack_ms / 1000 + s.stt_timeout_s,
            Leaf.SPEAKING.value: None,
            Leaf.BARGE_IN_THINKING.value: s.verdict_ms / 1000,
            Leaf.BARGE_IN_SPEAKING.value: s.verdict_ms / 1000,
        }
    return books.longest_s


@on("step", "DESIGN: every leaf has a deadline; F23, F45")
def speaking_does_not_stand_still(books: Books, step: TransitionRecord) -> str | None:
    """A reply that stands still, with no sign of life from the back-ends or the browser, is given up."""
    still_s = (books.loop.now_us - books.progress_us) / 1e6
    if step.source != Leaf.SPEAKING.value or still_s <= books.settings.stall_timeout_s:
        return None
    return f"it stood still for {still_s:g} s"


@on("after", "DESIGN: every leaf has a deadline")
def a_deadline_stands(books: Books, _: None) -> str | None:
    """Except when closed, the conversation always knows until when it waits, and not for ever."""
    conversation = books.conversation
    if books.leaf == "closed":
        return None
    due_us = conversation.deadline_us
    if due_us is None:
        return f"no deadline in {conversation.leaf}"
    if due_us <= books.loop.now_us and isinstance(books.fact, events.Tick) and not books.effects:
        return f"the deadline of {conversation.leaf} has passed and the tick did nothing"
    return None


# ------------------------------------------------------------------------------------------ epochs and the gate
@on("start", "PEERS 4 and 5: epochs are minted upwards")
def epochs_go_up(books: Books, effect: Any) -> str | None:
    """A reply attempt has an epoch that is greater than all before."""
    last = max(books.epochs, default=0)
    if isinstance(effect, effects.StartFiller):  # the number before its reply's was kept for it
        return f"epoch {effect.epoch} is used twice" if effect.epoch in books.epochs else None
    return None if effect.epoch > last else f"epoch {effect.epoch} after {last}"


@on("start", "DESIGN: no request before the flush ack or its deadline")
def waits_for_the_flush(books: Books, effect: Any) -> str | None:
    """A request is built only when it is known what was heard of the reply before, or the wait for it is over."""
    wait_us = books.settings.flush_ack_ms * 1000
    for book in books.flushed:
        if not book.acked and book.flushed_us is not None and books.loop.now_us - book.flushed_us < wait_us:
            if isinstance(effect, effects.StartFiller) or books.epochs[book.epoch].filler or _gave_up(books, book):
                continue
            return f"epoch {effect.epoch} was started, and epoch {book.epoch} has not said what was heard"
    return None


def _gave_up(books: Books, book: EpochBook) -> bool:
    """Its turn was over without that: it had stalled."""
    return book.turn in books.turns


@on("start", "PEERS 4: starting a reply is legal in one state")
def starts_where_it_may(books: Books, effect: Any) -> str | None:
    """A reply is started in thinking, an early one in a pause of the user's turn."""
    speculative = isinstance(effect, effects.StartReply) and effect.speculative
    wanted = Leaf.TRANSCRIBING_OPEN.value if speculative else Leaf.THINKING.value
    return None if books.leaf == wanted else f"epoch {effect.epoch} was started in {books.leaf}"


@on("gate", "DESIGN: the gate")
def opens_for_what_is_there(books: Books, book: EpochBook) -> str | None:
    """The gate opens for an epoch that has audio, was not dropped, and is no speculation any more."""
    if not book.ready:
        return f"epoch {book.epoch} has no audio"
    if books.leaf != Leaf.SPEAKING.value:
        return f"the gate opens for epoch {book.epoch} in {books.leaf}"
    if book.cancelled or book.flushed_us is not None:
        return f"epoch {book.epoch} was dropped"
    if book.speculative:
        return f"epoch {book.epoch} is speculative"
    return None


@on("speech", "DESIGN: nothing speculative but the first phrase")
def one_phrase_before_promotion(books: Books, what: tuple[EpochBook, str]) -> str | None:
    """A speculative reply asks for the speech of its first phrase alone (once more, if that failed)."""
    book, _ = what
    if book.speculative and book.requests > 2:
        return f"epoch {book.epoch} is speculative and asks for speech again"
    return None


@on("tool", "DESIGN: nothing speculative leaves the gate: no tool call")
def no_function_before_promotion(books: Books, book: EpochBook) -> str | None:
    """A speculative reply calls no function."""
    return f"epoch {book.epoch} is speculative" if book.speculative else None


@on("tell", "DESIGN: nothing speculative leaves the gate: no byte")
def no_word_before_the_gate(books: Books, message: protocol.Message) -> str | None:
    """The page is told no word of a reply whose gate is shut."""
    if isinstance(message, protocol.ReplyText) and not books.book(message.epoch).opened:
        return f"words of epoch {message.epoch}, whose gate is shut"
    return None


@on("frame", "DESIGN: the gate; PEERS 5")
def no_frame_but_of_the_open_epoch(books: Books, frame: protocol.ReplyFrame) -> str | None:
    """Frames go out only between the opening of their gate and their flush, and not while held."""
    book = books.book(frame.epoch)
    if not book.opened and not book.filler:
        return f"a frame of epoch {frame.epoch}, whose gate is shut"
    if book.flushed_us is not None:
        return f"a frame of epoch {frame.epoch} after its flush"
    if book.cancelled:
        return f"a frame of epoch {frame.epoch}, which was cancelled"
    if book.held:
        return f"a frame of epoch {frame.epoch}, which is held"
    return None


@on("frame", "PEERS 17: samples in = samples out")
def frames_follow_each_other(books: Books, frame: protocol.ReplyFrame) -> str | None:
    """A frame begins where the one before ended."""
    sent = books.book(frame.epoch).sent
    return None if frame.first_sample == sent else f"epoch {frame.epoch}: sample {frame.first_sample} after {sent}"


@on("reply_end", "PEERS 17: samples in = samples out")
def all_of_it_was_sent(books: Books, end: protocol.ReplyEnd) -> str | None:
    """When the browser is told that this is all, it is."""
    book = books.book(end.epoch)
    if end.samples != book.sent:
        return f"epoch {end.epoch}: {end.samples} samples told, {book.sent} sent"
    if book.made is not None and book.made != book.sent:
        return f"epoch {end.epoch}: {book.made} samples made, {book.sent} sent"
    return None


@on("fact", "PEERS 16 and 17: samples made = samples of its phrases", mode="cascade")
def made_of_its_phrases(books: Books, fact: events.Fact) -> str | None:
    """A reply that did not fail is as long as its phrases are."""
    if not isinstance(fact, events.ReplyPhrase | events.ReplyDone):
        return None
    book = books.epochs[fact.epoch]
    phrases = book.phrases[:-1] if isinstance(fact, events.ReplyPhrase) else book.phrases
    whole = sum(books.voice.samples(text) for text, _ in phrases)
    told = fact.first_sample if isinstance(fact, events.ReplyPhrase) else fact.samples
    failed = isinstance(fact, events.ReplyDone) and books.failed(fact.epoch)
    return None if told == whole or failed else f"epoch {fact.epoch}: {told} samples told, its phrases have {whole}"


@on("sounds", "DESIGN: one reply audible; FAULTS: never two agent voices")
def one_voice(books: Books, what: tuple[Track, Track | None]) -> str | None:
    """An epoch begins in the browser only when the one before has ended or was flushed."""
    track, before = what
    if before is not None and not before.ended:
        return f"epoch {track.epoch} begins, and epoch {before.epoch} is still there"
    return None


@on("step", "DESIGN: speaking only with audio of this epoch")
def speaks_with_audio(books: Books, step: TransitionRecord) -> str | None:
    """Speaking is entered with audio at the gate, and is over with some of it sent."""
    if step.target == Leaf.SPEAKING.value and step.source == Leaf.THINKING.value:
        return None if books.book(step.epoch).ready else f"epoch {step.epoch} has no audio"
    if step.trigger == "playback_ended" and not books.book(step.epoch).sent:
        return f"epoch {step.epoch} was never sent"
    return None


@on("fact", "PEERS 2: what is stale is dropped before the machine")
def stale_facts_do_nothing(books: Books, fact: events.Fact) -> str | None:
    """A fact of a reply that was dropped has no effect."""
    epoch = getattr(fact, "epoch", None)
    if epoch is None or isinstance(fact, events.PlaybackProgress | events.PlaybackStarted | events.ReplyDropped):
        return None
    if not books.epochs[epoch].cancelled or not books.effects:
        return None
    return f"epoch {epoch} was dropped, and {type(fact).__name__} of it led to {type(books.effects[0]).__name__}"


@on("fact", "PEERS 18, FAULTS F17: no silent end")
def an_empty_reply_is_told(books: Books, fact: events.Fact) -> str | None:
    """A reply without a sample has a consequence at once."""
    if not isinstance(fact, events.ReplyDone) or fact.samples or books.effects:
        return None
    book = books.epochs[fact.epoch]
    if book.cancelled or book.filler or books.failed(fact.epoch):
        return None
    return f"epoch {fact.epoch} is empty, and nothing follows"


@on("effect", "DESIGN 6: history = heard, the voice model's own too", mode="realtime")
def the_model_is_told_what_was_heard(books: Books, effect: Any) -> str | None:
    """A voice model is told what was heard of a reply that was cut, no sample more or less than is known."""
    if not isinstance(effect, effects.TellHeard):
        return None
    book = books.book(effect.epoch)
    known = book.reported if book.made is None else min(book.reported, book.made)
    book.told = True
    return None if effect.samples == known else f"epoch {effect.epoch}: {effect.samples} samples told, {known} heard"


@on("start", "DESIGN 6: history = heard, the voice model's own too", mode="realtime")
def nothing_unheard_is_remembered(books: Books, effect: Any) -> str | None:
    """Before a voice model is asked again it knows of every reply that was cut off or dropped."""
    for book in books.epochs.values():
        cut = book.cancelled and not book.filler and book.epoch != effect.epoch
        if cut and not book.told and books.book(book.epoch).ready:
            return f"epoch {book.epoch} was cut, and the model was not told before epoch {effect.epoch}"
    return None


@on("after", "DESIGN: hold, then verdict; PEERS 7")
def holds_are_resolved(books: Books, _: None) -> str | None:
    """Outside a barge-in over speaking nothing is held."""
    leaf = books.leaf
    if leaf in {"barge_in_speaking", "barge_in_thinking", "closed"}:
        return None
    for book in list(books.epochs.values())[-3:]:
        if book.held and not book.cancelled and book.turn not in books.turns:
            return f"epoch {book.epoch} is still held in {leaf}"
    return None


@on("step", "STYLE: every queue is bounded")
def memory_is_bounded(books: Books, _: TransitionRecord) -> str | None:
    """What waits in a session has a limit."""
    session = books.session
    outbox, mic = session._outbox, session._mic
    waiting = {
        "facts": (session._inbox.qsize(), 1_000),
        "control messages": (len(outbox._control), 1_000),
        "epochs": (len(outbox._streams), 4),
        "bytes of kept audio": (len(mic._kept), 24_000 * 2 * 40),
        "items": (len(books.conversation._items), 64),
        "attempts": (len(session._attempts._running), 4),
        "bytes of reply audio": (
            max((len(stream.audio) for stream in outbox._streams.values()), default=0),
            24_000 * 2 * 60,
        ),
    }
    over = [f"{count} {name}" for name, (count, most) in waiting.items() if count > most]
    return ", ".join(over) or None


# ------------------------------------------------------------------------------------------ the end
@on("end", "METRICS: one terminal record per turn")
def every_turn_has_its_last_word(books: Books, first_turn: int) -> str | None:
    """Each number that was given to a turn has a record."""
    missing = sorted(set(range(first_turn, books.conversation.next_turn)) - set(books.turns))
    return f"turns {missing} have no record" if missing else None


@on("end", "METRICS: spans tile the session")
def the_sum_is_the_session(books: Books, _: int) -> str | None:
    """The times in the leaves sum to the session's."""
    moves = [step for step in books.steps if step.source != step.target]
    total_us = sum(step.dwell_us for step in moves)
    whole_us = moves[-1].at_us - books.began_us if moves else 0
    return None if total_us == whole_us else f"{total_us} us in leaves, {whole_us} in all"
