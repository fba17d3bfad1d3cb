"""A whole session on a virtual clock: the real driver, the real SDK, the twin on a socket, and a browser in software."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from voiceagent import protocol
from voiceagent.endpointing import EndpointConfig, Endpointer
from voiceagent.incoming import Gone
from voiceagent.session import Ending, Session
from voiceagent.settings import Settings
from voiceagent.speaker import Speaker
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.stages.speech_to_speech import speech_to_speech
from voiceagent.timeline import TransitionRecord, TurnRecord
from voiceagent.tools import Tool
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin
from voiceagent.twin.scripted import tone
from voiceagent.vad import TurnModel

FRAME_MS = 20
OFFSET_MS = 5_000_000.0  # the browser's clock began at another time


class Browser:
    """The page in software: a microphone, a speaker, and the socket between. `voiceagent.session.Socket`."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.speaker = Speaker(lambda message: self.send_up(self._in_my_time(message)))
        self.seen: list[tuple[int, Any]] = []  # (milliseconds, message)
        self.frames: list[tuple[int, protocol.ReplyFrame]] = []
        self.closed: tuple[int, str] | None = None
        self.answers_pings = True
        self._up: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._speech_ms = 0
        self._start_s = self.loop.time()
        self._changed = asyncio.Event()
        self.muted = False
        self._stalled: list[str | bytes] | None = None

    @property
    def now_ms(self) -> int:
        """Milliseconds since the world began."""
        return round((self.loop.time() - self._start_s) * 1000)

    # -- the socket's other end
    async def receive(self) -> protocol.Message | protocol.MicFrame:
        """The server reads."""
        message = await self._up.get()
        if message is None:
            raise Gone
        return protocol.decode_client(message)

    async def send(self, message: protocol.Message | protocol.ReplyFrame) -> None:
        """The server writes."""
        if self.closed is not None:
            raise Gone
        data = protocol.encode(message)
        if isinstance(data, bytes):
            frame = protocol.ReplyFrame.unpack(data)
            self.frames.append((self.now_ms, frame))
            self.speaker.frame(frame, self.loop.time())
        else:
            parsed = protocol.parse_server(data)
            self.seen.append((self.now_ms, parsed))
            if isinstance(parsed, protocol.Ping):
                if self.answers_pings:
                    self.send_up(protocol.Pong(id=parsed.id, client_ms=self.loop.time() * 1000 + OFFSET_MS))
            else:
                self.speaker.control(parsed, self.loop.time())
        self._changed.set()

    async def close(self, code: int, reason: str) -> None:
        """The server closes."""
        self.closed = (code, reason)
        self._changed.set()

    # -- what a person does
    def send_up(self, message: protocol.Message | str | bytes) -> None:
        """Send a message to the server."""
        data = message.model_dump_json() if isinstance(message, protocol.Message) else message
        if self._stalled is None:
            self._up.put_nowait(data)
        else:
            self._stalled.append(data)

    async def stall(self, seconds: float) -> None:
        """Let the network stand still on the way up; then everything comes at once."""
        self._stalled = []
        await asyncio.sleep(seconds)
        late, self._stalled = self._stalled, None
        for data in late:
            self._up.put_nowait(data)

    def leave(self) -> None:
        """Vanish without a word."""
        self.closed = (1006, "gone")
        self._up.put_nowait(None)

    def speak(self, ms: int) -> None:
        """Say something that lasts so long, from the next frame on."""
        self._speech_ms += ms

    async def live(self) -> None:
        """Send a frame every 20 ms and play what came."""
        seq = 0
        while True:
            captured_ms = self.loop.time() * 1000 + OFFSET_MS
            for _ in range(4):
                await asyncio.sleep(FRAME_MS / 4000)
                self.speaker.advance(self.loop.time())
            samples = 24 * FRAME_MS
            pcm = tone(samples, seq * samples) if self._speech_ms > 0 else bytes(samples * 2)
            self._speech_ms = max(0, self._speech_ms - FRAME_MS)
            if not self.muted and self.closed is None:
                self.send_up(protocol.MicFrame(seq, captured_ms, pcm).pack())
                seq += 1

    def _in_my_time(self, message: protocol.Message) -> protocol.Message:
        if isinstance(message, protocol.Started):
            return message.model_copy(update={"at_ms": message.at_ms + OFFSET_MS})
        return message

    # -- what a test asks
    def of(self, kind: type[Any]) -> list[Any]:
        """The messages of a kind, in order."""
        return [message for _, message in self.seen if isinstance(message, kind)]

    @property
    def states(self) -> list[str]:
        """The leaves gone through."""
        return [message.leaf for message in self.of(protocol.State)]

    async def until(self, condition: Any, limit_s: float = 60.0) -> None:
        """Wait until a condition on what was seen holds."""
        async with asyncio.timeout(limit_s):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_leaf(self, leaf: str, times: int = 1) -> None:
        """Wait until a leaf was entered so many times."""
        await self.until(lambda: self.states.count(leaf) >= times)

    async def until_turns(self, count: int) -> list[protocol.TurnDone]:
        """Wait until so many turns are over, and return them."""
        await self.until(lambda: len(self.of(protocol.TurnDone)) >= count)
        return self.of(protocol.TurnDone)


class World:
    """What a test needs of it."""

    def __init__(self, browser: Browser, engines: ScriptedEngines, settings: Settings, clients: Clients) -> None:
        self.browser = browser
        self.engines = engines
        self.settings = settings
        self.clients = clients
        self.records: list[TransitionRecord | TurnRecord] = []
        self.session: Session
        self.ending: asyncio.Task[Ending]

    @property
    def turns(self) -> list[TurnRecord]:
        """The turn records so far."""
        return [record for record in self.records if isinstance(record, TurnRecord)]


def settings_for_tests(**changes: Any) -> Settings:
    """Settings that read no environment."""
    return Settings(_env_file=None, **{"backend": "local", "endpoint_ms": 500, **changes})


@asynccontextmanager
async def world(
    script: Script, *, tools: tuple[Tool, ...] = (), turn_model: TurnModel | None = None, **settings: Any
) -> AsyncIterator[World]:
    """A running session with its browser; when it is left, everything of it must be gone."""
    chosen = settings_for_tests(**settings)
    engines = ScriptedEngines(script)
    async with TwinServer(create_twin(engines)) as twin:
        clients = Clients(chosen, twin.base_url)
        await clients.warm()
        before = asyncio.all_tasks()
        browser = Browser()
        this = World(browser, engines, chosen, clients)
        stages = cascade(clients, chosen)
        if chosen.mode == "realtime":
            stages = speech_to_speech(clients, chosen, stages)
        this.session = Session(
            "test", browser, chosen, stages, Endpointer(EndpointConfig.from_settings(chosen)),
            record=lambda _, record: this.records.append(record), tools=tools,
            turn_model=turn_model,
        )  # fmt: skip
        this.ending = asyncio.create_task(this.session.run())
        life = asyncio.create_task(browser.live())
        try:
            await asyncio.sleep(1.0)  # the clocks are known, the noise floor too
            yield this
        finally:
            life.cancel()
            browser.leave()
            await asyncio.wait({this.ending, life})
            this.ending.result()
            await clients.aclose()
            await asyncio.sleep(0.2)  # the twin's side of the closed connections
            left = {task for task in asyncio.all_tasks() - before if not task.done()}
            assert not left, left
