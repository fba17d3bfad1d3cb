"""Who calls the agent in a test: speaks, types, talks over it, waits for what it does, and knows each turn's record."""

import asyncio
from collections.abc import Callable
from typing import Any

from voiceagent import protocol
from voiceagent.recordlines import turn_fields
from voiceagent.records import TURN_SCHEMA, TurnLine
from voiceagent.session import Ending, Session
from voiceagent.settings import Settings
from voiceagent.stages.clients import Clients
from voiceagent.states import Leaf
from voiceagent.testing.browser import Browser
from voiceagent.timeline import TransitionRecord, TurnRecord
from voiceagent.twin import ScriptedEngines

STATES = {*Leaf, *(leaf.state for leaf in Leaf)}
LIMIT_MS = 60_000


class Caller:
    """One caller and the session at the other end. All lengths and moments are milliseconds of virtual time."""

    def __init__(self, browser: Browser, engines: ScriptedEngines, settings: Settings, clients: Clients) -> None:
        self.browser = browser
        """The page in software: every message and frame with its moment."""
        self.engines = engines
        """The scripted models: `engines.log` tells what was asked of them and when."""
        self.settings = settings
        self.clients = clients
        self.records: list[TransitionRecord | TurnRecord] = []
        """All records so far, as observers get them: integers of microseconds."""
        self.turns: list[TurnLine] = []
        """The turns that are over, as lines of the log: `gap_ms`, `segments_ms`, `barge_ins`, `outcome` and so on."""
        self.session: Session
        self.ending: asyncio.Task[Ending]
        self._looked = 0  # where in the path the last `until` found what it waited for
        self._told = 0  # turns that `turn_over` has returned

    # ------------------------------------------------------------------------------ what the caller does
    def speak(self, ms: int) -> None:
        """Say something that lasts `ms`, from the next frame on (they are 20 ms long); the script has its words."""
        self._acts()
        self.browser.speak(ms)

    def type(self, text: str) -> None:
        """Send a typed line."""
        self._acts()
        self.browser.send_up(protocol.Text(text=text))

    def talk_key(self, *, down: bool) -> None:
        """Press the talk key, or let it go."""
        self._acts()
        self.browser.send_up(protocol.PushToTalk(down=down))

    def mute(self, *, muted: bool) -> None:
        """Mute the microphone, or let it hear again."""
        self._acts()
        self.browser.muted = muted
        self.browser.send_up(protocol.Mute(muted=muted))

    def hang_up(self) -> None:
        """End the conversation."""
        self._acts()
        self.browser.send_up(protocol.HangUp())

    def vanish(self) -> None:
        """Be gone without a word, as when a network is lost."""
        self._acts()
        self.browser.leave()

    def _acts(self) -> None:
        self._looked = len(self.path) - 1

    # ------------------------------------------------------------------------------ what the caller waits for
    async def wait(self, ms: float) -> None:
        """Let time pass."""
        await asyncio.sleep(ms / 1000)

    async def until(self, what: str | Callable[[], object], *, limit_ms: float = LIMIT_MS) -> None:
        """Wait until the agent is in a state, or until a condition holds that a message or a record may have changed.

        A state is one of `path` or its short name (``transcribing``, ``barge_in``). At once if it is the present one or
        was entered since the caller's last act or the last `until`. Raises `AssertionError` if the session ends before,
        or after `limit_ms`; `ValueError` for a state that there is not.
        """
        if isinstance(what, str):
            if what not in STATES:
                raise ValueError(f"there is no state {what!r}: {', '.join(sorted(STATES))}")
            state = what
            await self._until(lambda: self._find(state), what, limit_ms)
        else:
            await self._until(what, "the condition", limit_ms)

    async def until_heard(self, ms: float, *, limit_ms: float = LIMIT_MS) -> None:
        """Wait until `ms` of the reply that is being played were heard, to 5 ms."""
        speaker = self.browser.speaker
        try:
            async with asyncio.timeout(limit_ms / 1000):
                while speaker.playing is None or speaker.heard_ms(speaker.playing) < ms:
                    self.browser.played.clear()
                    await self.browser.played.wait()
        except TimeoutError:
            raise AssertionError(self._in_vain(f"{ms:g} ms of a reply to be heard", limit_ms)) from None

    async def turn_over(self, *, limit_ms: float = LIMIT_MS) -> TurnLine:
        """Wait until one more turn is over and return its record; turns come in the order in which they end."""
        number = self._told
        await self._until(lambda: len(self.turns) > number, f"the end of turn record {number + 1}", limit_ms)
        self._told += 1
        self._acts()
        return self.turns[number]

    async def _until(self, condition: Callable[[], object], name: str, limit_ms: float) -> None:
        met = False

        def over() -> bool:
            nonlocal met
            met = bool(condition())
            return met or self.ending.done()

        try:
            await self.browser.until(over, limit_ms / 1000)
        except TimeoutError:
            raise AssertionError(self._in_vain(name, limit_ms)) from None
        if not met:
            reason = self.ending.result().reason  # raises what the session died of
            raise AssertionError(f"waited for {name}, and the session has ended: {reason}")

    def _find(self, state: str) -> bool:
        path = self.path
        present = self._looked == len(path) - 1
        for index in range(self._looked if present else self._looked + 1, len(path)):
            if state in {path[index], Leaf(path[index]).state}:
                self._looked = index
                return True
        return False

    def _in_vain(self, name: str, limit_ms: float) -> str:
        said = "".join(f"; it said: {notice}" for notice in self.notices)
        return f"waited {limit_ms:g} ms in vain for {name}; the agent went through {' > '.join(self.path)}{said}"

    # ------------------------------------------------------------------------------ what the caller knows
    @property
    def now_ms(self) -> int:
        """Milliseconds since the caller came."""
        return self.browser.now_ms

    @property
    def path(self) -> list[str]:
        """The states that the agent went through, from ``listening`` on; the last one is the present one."""
        return [Leaf.LISTENING.value, *self.browser.states]

    @property
    def heard(self) -> list[str]:
        """What the history keeps of each reply: the words that were heard."""
        return [message.text for message in self.browser.of(protocol.Heard)]

    @property
    def notices(self) -> list[str]:
        """What the agent told of trouble, a sentence each."""
        troubles = [
            message for _, message in self.browser.seen if isinstance(message, protocol.Notice | protocol.Error)
        ]
        return [trouble.message for trouble in troubles]

    def requests(self, stage: str = "llm") -> list[Any]:
        """What a stage was asked so far: of ``llm`` the messages of each request, of ``tts`` the text."""
        return [entry.detail for entry in self.engines.of(f"{stage}_request")]

    def take(self, record: TransitionRecord | TurnRecord) -> None:
        """Keep one record of the session; the driver calls it."""
        self.records.append(record)
        if isinstance(record, TurnRecord):
            fields = {"timestamp": "", "session": self.session.name, "schema": TURN_SCHEMA, **turn_fields(record)}
            self.turns.append(TurnLine.model_validate(fields))
            self.browser.changed()
