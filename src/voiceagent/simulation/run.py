"""One seed: draw everything, run sessions until the time is over, and tell what was wrong."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from voiceagent import outbox
from voiceagent.session import Ending, Session
from voiceagent.simulation import draws, hearing, invariants, lines
from voiceagent.simulation.books import Books, Violation
from voiceagent.simulation.browser import Browser
from voiceagent.simulation.callers import Act, Caller, hush, live
from voiceagent.simulation.checks import CHECKS
from voiceagent.simulation.ears import ScriptedEars
from voiceagent.simulation.loop import START_US, Stuck, VirtualLoop
from voiceagent.simulation.script import Timeline
from voiceagent.simulation.speaker import ScriptedSpeaker
from voiceagent.simulation.stages import ScriptedModel, ScriptedVoice, stages
from voiceagent.simulation.telling import Entry
from voiceagent.states import Leaf
from voiceagent.tools import Tool

REGISTERED = (hearing, invariants, lines)  # importing them put their rules into the register
FRAME_SAMPLES = 2_400  # 100 ms a reply frame, as the protocol allows; the product's own are shorter
END_S = 1.0
VOICE_SEEDS = 4
"""Every so many seeds the sessions of one talk to a voice model."""
LEAVES = [leaf.value for leaf in Leaf]


@dataclass(slots=True)
class Outcome:
    """What one seed came to."""

    seed: int
    sessions: int = 0
    simulated_us: int = 0
    leaf: str = ""  # where the last session was when its caller left
    violations: list[Violation] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is given instead of drawn: the caller's behaviours, one of which is drawn each time, and settings."""

    acts: Sequence[Act] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


DRAWN = Scene()


def simulate(seed: int, seconds: float, *, kept: int | None = 400, scene: Scene = DRAWN) -> Outcome:
    """Run one seed. `kept` is how many of its last steps are kept for the transcript; None: all."""
    outcome = Outcome(seed)
    loop = VirtualLoop(seed)
    world = World(loop, seed, seconds, outcome, kept=kept, scene=scene)
    usual, outbox.FRAME_SAMPLES = outbox.FRAME_SAMPLES, FRAME_SAMPLES
    try:
        loop.run(world.live())
    except Stuck as stuck:
        world.crash("STYLE: every wait has a deadline", stuck)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what the simulator is for
        world.crash("FAULTS: nothing but its own end ends a session", error)
    finally:
        outbox.FRAME_SAMPLES = usual
    outcome.simulated_us = loop.now_us - START_US
    return outcome


class World:
    """Everything around the sessions of one seed."""

    def __init__(
        self, loop: VirtualLoop, seed: int, seconds: float, outcome: Outcome, *, kept: int | None, scene: Scene
    ) -> None:
        self._loop = loop
        self._draw = random.Random(seed)
        self._given = scene.settings
        if scene is DRAWN and seed % VOICE_SEEDS == VOICE_SEEDS - 1:
            self._given = {"mode": "realtime"}
        self._end_us = loop.now_us + round(seconds * 1e6)
        self._outcome = outcome
        self._kept = kept
        self._scene = scene
        self._books: Books | None = None

    def crash(self, rule: str, error: BaseException) -> None:
        """Note what broke the run."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        frame = _innermost(error)
        detail = f"{type(error).__name__}: {error} {frame}"
        if self._books is not None:
            self._books.broken("nothing_breaks", rule, detail)
            self._keep(self._books)
        else:
            self._outcome.violations.append(Violation("nothing_breaks", rule, detail, self._loop.now_us))

    async def live(self) -> None:
        """One session after the other, until the time is over."""
        ending: Ending | None = None
        while self._loop.now_us < self._end_us:
            self._outcome.sessions += 1
            ending = await self._session(ending if ending is not None and ending.resumable else None)
            if self._outcome.violations:
                return
            await asyncio.sleep(self._draw.choice((0, 0.5, 2)))

    async def _session(self, before: Ending | None) -> Ending:
        draw, loop = self._draw, self._loop
        seconds = (self._end_us - loop.now_us) / 1e6
        settings, voice, timeline = draws.settings(draw, self._given), draws.voice(draw), Timeline()
        books = self._books = Books(loop, settings, voice, CHECKS, self._kept)
        browser = books.browser = Browser(loop, draws.network(draw, seconds), draw, books)
        browser.on_clock = lambda: setattr(books, "clock_jumped", True)
        plan = draws.backends(draw)
        ports, model, speech = stages(timeline, plan, voice, draw, seen=books, loop=loop)
        if settings.mode == "realtime":
            ports = replace(
                ports,
                voice=lambda post: ScriptedSpeaker(timeline, plan, voice, draw, seen=books, loop=loop, post=post),
            )
        ears = books.ears = ScriptedEars(
            timeline, pause_ms=settings.pause_ms, endpoint_ms=settings.endpoint_ms, sound_ms=settings.sound_ms
        )  # fmt: skip
        session = Session(
            "sim", browser, settings, ports, ears, record=books.recorded, tools=(_note(books),),
            past=before.past if before is not None else (), first_turn=before.next_turn if before is not None else 1,
        )  # fmt: skip
        books.watch(session)
        first_turn = books.conversation.next_turn
        caller = Caller(browser, timeline, draw, books.note)
        ending = await self._play(session, caller, books, seconds)
        self._check_the_end(books, first_turn, model, speech)
        self._keep(books)
        return ending

    async def _play(self, session: Session, caller: Caller, books: Books, seconds: float) -> Ending:
        """Run a session and its caller; then the caller is quiet, must find the agent listening, and leaves."""
        loop, draw, browser = self._loop, self._draw, caller.browser
        running: asyncio.Task[Ending] = loop.create_task(session.run(), name="session")
        life = loop.create_task(live(caller, self._scene.acts), name="caller")
        leaving = draw.random() < 0.3
        reached = loop.create_future()
        if leaving:  # in a leaf that is drawn, or at some moment
            books.reached = (draw.choice(LEAVES), reached)
            seconds = min(seconds, draw.randrange(500, 30_000, 10) / 1000)
        await asyncio.wait({running, life, reached}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if reached.done():
            await asyncio.sleep(draw.choice((0, 0, 0.01, 0.1)))
        if life.done():
            life.result()
        life.cancel()
        await asyncio.wait({life})
        self._outcome.leaf = books.leaf
        if not running.done() and not leaving:
            hush(caller)
            await self._await_quiet(running, books, caller)
        if not running.done():
            how = draw.choice(("vanish", "hang up", "silence"))
            books.note(f"leaves: {how}")
            if how == "vanish":
                browser.vanish()
            elif how == "silence":
                browser.fall_silent()
            else:
                caller.hang_up()
            limit_s = END_S + 2 * books.settings.pong_timeout_s + 8
            await asyncio.wait({running}, timeout=limit_s)
        if not running.done():
            books.broken("it_ends", "FAULTS: a session ends when its browser has left", "it goes on")
            running.cancel()
            browser.vanish()
            await asyncio.wait({running})
            return Ending("stuck", (), 1, resumable=False)
        browser.vanish()
        return await running

    async def _await_quiet(self, running: "asyncio.Task[Ending]", books: Books, caller: Caller) -> None:
        """A caller who goes quiet finds the agent listening again, or is told that it is over."""
        limits = invariants.longest_s(books)
        bound_s = sum(limit or 0.0 for leaf, limit in limits.items() if leaf != "listening") + 60.0
        end_us = self._loop.now_us + round(bound_s * 1e6)
        while not running.done() and books.conversation.leaf is not Leaf.LISTENING:
            if self._loop.now_us >= end_us:
                books.broken(
                    "quiet_finds_listening", "ISSUE 3: a quiet caller finds listening again",
                    f"after {bound_s:g} s of quiet it is still in {books.conversation.leaf}",
                )  # fmt: skip
                return
            await caller.rest(100)

    def _check_the_end(self, books: Books, first_turn: int, model: ScriptedModel, speech: ScriptedVoice) -> None:
        books.check("end", first_turn)
        loop = self._loop
        tasks = [name for name in loop.tasks_left() if name != "world"]
        spoken = books.session._voice.requests if books.session._voice is not None else 0
        left = [f"task {name}" for name in tasks] + [f"timer {timer}" for timer in loop.timers_left()]
        left += [
            f"{count} requests of the {name}"
            for name, count in (("model", model.open), ("voice", speech.open), ("voice model", spoken))
            if count
        ]
        if left:
            books.broken("nothing_survives", "PEERS 9 and 10: one scope per session", ", ".join(left))

    def _keep(self, books: Books) -> None:
        self._outcome.violations += books.violations
        self._outcome.entries = list(books.entries)


def note(epoch: int) -> str:
    """Note something."""
    return f"noted by {epoch}"


NOTE = Tool.from_function(note)  # its schema takes longer than a session


def _note(books: Books) -> Tool:
    def noted(epoch: int) -> str:
        books.tool_run(epoch)
        return "noted"

    return replace(NOTE, function=noted)


def _innermost(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"({trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno})"
