"""One dialog with one seed: draw the network and the delays, run the session on virtual time, return what is to be scored."""

import asyncio
import random
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from voiceagent import events
from voiceagent.dialogs.caller import Person, Said
from voiceagent.dialogs.ears import DrawnEars
from voiceagent.dialogs.room import Heard, Page, ScriptedAnswers, ScriptedWords
from voiceagent.dialogs.scripts import Script
from voiceagent.dialogs.sounds import Sound
from voiceagent.session import Session
from voiceagent.settings import Settings
from voiceagent.simulation import hearing, invariants
from voiceagent.simulation.books import Books
from voiceagent.simulation.browser import Network
from voiceagent.simulation.checks import CHECKS
from voiceagent.simulation.loop import VirtualLoop
from voiceagent.simulation.script import Timeline
from voiceagent.simulation.speech import Voice
from voiceagent.simulation.stages import Backends, ScriptedVoice
from voiceagent.simulation.telling import Entry
from voiceagent.stages.ports import Stages
from voiceagent.timeline import TransitionRecord, TurnRecord

REGISTERED = (hearing, invariants)
NETWORK_MS, JITTER_MS = (10, 60), (0, 0, 2, 5)
LLM_MS, TTS_MS = (100, 400), (80, 300)
PACES = (0.9, 1.0, 1.1)
HANG_UP_S = 0.5
OFF_STAGE = frozenset({"nothing_said_is_lost", "quiet_finds_listening"})
"""Invariants that ask the simulator's own ears or caller."""
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


def play(script: Script, seed: int, settings: Settings) -> Take:
    """Play a dialog."""
    take = Take(script, seed)
    loop = VirtualLoop(seed)
    loop.run(_play(loop, take, settings))
    return take


async def _play(loop: VirtualLoop, take: Take, settings: Settings) -> None:
    script = take.script
    draw = random.Random(f"{script.name} {take.seed}")
    take.up_ms, take.down_ms = draw.randint(*NETWORK_MS), draw.randint(*NETWORK_MS)
    network = Network(up_ms=take.up_ms, down_ms=take.down_ms, jitter_ms=JITTER_MS)
    voice, timeline = Voice(draw.randrange(1 << 30), pace=draw.choice(PACES)), Timeline()
    checks = defaultdict(
        list, {when: [one for one in rules if one.name not in OFF_STAGE] for when, rules in CHECKS.items()}
    )
    books = Books(loop, settings, voice, checks, None)
    page = books.browser = Page(loop, network, random.Random(draw.random()), books)
    books.ears = ears = DrawnEars(timeline, pause_ms=settings.pause_ms, endpoint_ms=settings.endpoint_ms)
    answers = ScriptedAnswers(random.Random(draw.random()), LLM_MS)
    speech = ScriptedVoice(Backends(tts_first_ms=tuple(range(*TTS_MS))), voice, random.Random(draw.random()), books)
    stt_draw = random.Random(draw.random())
    stages = Stages(
        stt=lambda post: ScriptedWords(timeline, stt_draw, loop, post), llm=answers, tts=speech, warm=_nothing
    )
    session = Session("dialog", page, settings, stages, ears, record=_unseen)
    books.watch(session)

    def say(sounds: list[Sound]) -> list[Sound]:
        for sound in sounds:
            timeline.add(sound)
        return sounds

    person = Person(script, page, timeline, answers, draw, say)
    running = loop.create_task(session.run(), name="session")
    life = loop.create_task(person.live(), name="caller")
    await asyncio.wait({running, life}, return_when=asyncio.FIRST_COMPLETED)
    if not life.done():
        life.cancel()
        books.broken("it_goes_on", "a dialog ends by its caller", "the session ended")
    else:
        life.result()
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
            case events.HoldReply(_, epoch):
                take.holds.append((at_us, epoch))
            case events.FlushReply(_, epoch):
                take.flushes.append((at_us, epoch))
            case events.ReplyDone(epoch, samples):
                take.made[epoch] = samples
            case events.Record(TransitionRecord() as step):
                if step.trigger in VERDICTS and step.source.startswith(
                    ("barge_in", "thinking", "speaking", "listening")
                ):
                    take.verdicts.append((at_us, f"{step.trigger}: {step.reason}".removesuffix(": ")))
            case events.Record(TurnRecord() as turn):
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


async def _nothing() -> None:
    """There is nothing to open beforehand."""


def _unseen(*_: Any) -> None:
    """The records are seen as effects."""
