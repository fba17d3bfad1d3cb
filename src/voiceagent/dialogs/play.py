"""One dialog with one seed: draw the network and the delays, run the session on virtual time, return what is to be scored."""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from voiceagent import effects, events
from voiceagent.dialogs.caller import Person, Said
from voiceagent.dialogs.real import RealRoom
from voiceagent.dialogs.room import Around, DrawnRoom, Heard, Page, ScriptedAnswers, ScriptedWords
from voiceagent.dialogs.scripts import Script
from voiceagent.session import Session
from voiceagent.settings import Settings
from voiceagent.simulation import hearing, invariants
from voiceagent.simulation.books import Books
from voiceagent.simulation.browser import Network
from voiceagent.simulation.checks import CHECKS
from voiceagent.simulation.loop import VirtualLoop
from voiceagent.simulation.telling import Entry
from voiceagent.stages.ports import Stages
from voiceagent.timeline import TransitionRecord, TurnRecord

REGISTERED = (hearing, invariants)
NETWORK_MS, JITTER_MS = (10, 60), (0, 0, 2, 5)
LLM_MS = (100, 400)
HANG_UP_S = 0.5
OFF_STAGE = frozenset({"nothing_said_is_lost", "history_is_what_was_heard"})
"""Invariants that ask the simulator's own ears, or are scored here."""
VERDICTS = frozenset({"confirmed", "confirmed_ended", "rejected", "playback_ended"})


@dataclass(slots=True)
class Take:
    """A dialog as it went, on one clock in microseconds."""

    script: Script
    seed: int
    up_ms: int = 0
    down_ms: int = 0
    said: list[Said] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    fillers: set[int] = field(default_factory=set)
    holds: list[tuple[int, int]] = field(default_factory=list)  # when sent, epoch
    flushes: list[tuple[int, int]] = field(default_factory=list)
    verdicts: list[tuple[int, str]] = field(default_factory=list)  # when, why
    made: dict[int, int] = field(default_factory=dict)  # epoch: samples of the whole reply
    words_off: dict[int, int] = field(default_factory=dict)  # epoch of a cut reply: history less truth
    tries: int = 0
    hits: int = 0
    wasted_tokens: int = 0
    wasted_characters: int = 0
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    entries: list[Entry] = field(default_factory=list)


def shipped(**changes: Any) -> Settings:
    """The settings as shipped, but for `changes`."""
    plain = Settings(_env_file=None, backend="local", log_content=True)
    return plain.model_copy(update=changes)


def play(script: Script, seed: int, settings: Settings, *, real: bool = False) -> Take:
    """Play a dialog, with drawn ears or with the product's own."""
    take = Take(script, seed)
    loop = VirtualLoop(seed)
    loop.run(_play(loop, take, settings, real=real))
    return take


async def _play(loop: VirtualLoop, take: Take, settings: Settings, *, real: bool) -> None:
    script = take.script
    draw = random.Random(f"{script.name} {take.seed}")
    take.up_ms, take.down_ms = draw.randint(*NETWORK_MS), draw.randint(*NETWORK_MS)
    network = Network(up_ms=take.up_ms, down_ms=take.down_ms, jitter_ms=JITTER_MS)
    room: Around = RealRoom(script, take.seed, settings) if real else DrawnRoom(_fork(draw), settings)
    rules = {when: [rule for rule in each if rule.name not in OFF_STAGE] for when, each in CHECKS.items()}
    books = Books(loop, settings, room.voice, defaultdict(list, rules), None)
    page = books.browser = Page(loop, network, _fork(draw), books, room)
    books.ears = room.ears
    room.watch(page)
    answers, speech, stt_draw = ScriptedAnswers(_fork(draw), LLM_MS), room.speech(_fork(draw), books), _fork(draw)
    stages = Stages(stt=lambda post: ScriptedWords(room, stt_draw, loop, post), llm=answers, tts=speech, warm=_nothing)
    session = Session("dialog", page, settings, stages, room.ears, record=_unseen)
    books.watch(session)
    person = Person(script, page, room, answers, draw)
    running = loop.create_task(session.run(), name="session")
    life = loop.create_task(person.live(), name="caller")
    echoes = [loop.create_task(person.echoes(), name="echoes")] if script.echo_db is not None and not real else []
    await asyncio.wait({running, life}, return_when=asyncio.FIRST_COMPLETED)
    if not life.done():
        life.cancel()
        books.broken("it_goes_on", "a dialog ends by its caller", "the session ended")
    else:
        life.result()
    for task in echoes:
        task.cancel()
    await asyncio.sleep(HANG_UP_S)
    session.leave(events.Left("hung_up"))
    await running
    page.vanish()
    _report(take, books, page, person)


def _report(take: Take, books: Books, page: Page, person: Person) -> None:
    take.said, take.heard, take.fillers = person.said, page.playback.heard, page.fillers
    take.entries, take.seconds = list(books.entries), (books.loop.now_us - books.began_us) / 1e6
    take.violations = [f"{one.name}: {one.detail}" for one in books.violations]
    for at_us, _, what in books.entries:
        match what:
            case effects.HoldReply(_, epoch):
                take.holds.append((at_us, epoch))
            case effects.FlushReply(_, epoch):
                take.flushes.append((at_us, epoch))
            case events.ReplyDone(epoch, samples):
                take.made[epoch] = samples
            case effects.Record(TransitionRecord() as step):
                if step.trigger in VERDICTS and step.source.startswith(
                    ("barge_in", "thinking", "speaking", "listening")
                ):
                    take.verdicts.append((at_us, f"{step.trigger}: {step.reason}".removesuffix(": ")))
            case effects.Record(TurnRecord() as turn):
                _count(take, turn)
    for past in books.conversation.past:
        record = books.turns.get(past.number)
        if record is not None and past.interrupted:
            book = books.book(record.epoch)
            played = books.voice.heard_words(book.phrases, page.playback.played.get(record.epoch, 0))
            take.words_off[record.epoch] = len(past.reply.split()) - played


def _count(take: Take, turn: TurnRecord) -> None:
    guesses = turn.speculation
    take.tries += guesses.tries
    take.hits += guesses.hit
    take.wasted_tokens += guesses.wasted_tokens
    take.wasted_characters += guesses.wasted_characters


def _fork(draw: random.Random) -> random.Random:
    return random.Random(draw.random())


async def _nothing() -> None:
    """There is nothing to open beforehand."""


def _unseen(*_: Any) -> None:
    """The records are seen as effects."""
