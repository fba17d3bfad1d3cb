"""The page in software: a microphone, a speaker, and the socket between; what came over it is kept with its moment."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from voiceagent import protocol
from voiceagent.incoming import Gone
from voiceagent.speaker import Speaker
from voiceagent.twin.scripted import tone

FRAME_MS = 20
OFFSET_MS = 5_000_000.0
"""The browser's clock began at another time than the server's."""
MAX_UNREAD = 65_536
MessageT = TypeVar("MessageT", bound=protocol.Message)


class Browser:
    """`voiceagent.incoming.Socket` on one side, a person's ears and mouth on the other.

    A voice is a tone of 220 Hz at -20 dBFS, silence is digital. Frames go out every 20 ms, the speaker plays every 5 ms.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.speaker = Speaker(lambda message: self.send_up(self._in_my_time(message)))
        self.seen: list[tuple[int, Any]] = []
        """What the server said: (milliseconds, message)."""
        self.frames: list[tuple[int, protocol.ReplyFrame]] = []
        """The reply's audio as it came: (milliseconds, frame)."""
        self.closed: tuple[int, str] | None = None
        """Close code and reason, once the server has closed or the browser has gone."""
        self.answers_pings = True
        self.muted = False
        self.played = asyncio.Event()
        """Is set every 5 ms, after the speaker has played."""
        self._up: asyncio.Queue[str | bytes | None] = asyncio.Queue(MAX_UNREAD)
        self._speech_ms = 0
        self._start_s = self.loop.time()
        self._changed = asyncio.Event()
        self._stalled: list[str | bytes] | None = None

    @property
    def now_ms(self) -> int:
        """Milliseconds since the browser began."""
        return round((self.loop.time() - self._start_s) * 1000)

    # ------------------------------------------------------------------------------ the socket's other end
    async def receive(self) -> protocol.Message | protocol.MicFrame:
        """The server reads."""
        message = await self._up.get()
        if message is None:
            raise Gone
        read: protocol.Message | protocol.MicFrame = protocol.decode_client(message)
        return read

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
        self.changed()

    async def close(self, code: int, reason: str) -> None:
        """The server closes."""
        self.closed = (code, reason)
        self.changed()

    # ------------------------------------------------------------------------------ what a person does
    def send_up(self, message: protocol.Message | str | bytes) -> None:
        """Send a message to the server; text and bytes as they are."""
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
                self.played.set()
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

    # ------------------------------------------------------------------------------ what a test asks
    def of(self, kind: type[MessageT]) -> list[MessageT]:
        """The messages of a kind, in order."""
        return [message for _, message in self.seen if isinstance(message, kind)]

    @property
    def states(self) -> list[str]:
        """The leaves gone through."""
        return [message.leaf for message in self.of(protocol.State)]

    def changed(self) -> None:
        """Have whoever waits look again."""
        self._changed.set()

    async def until(self, condition: Callable[[], Any], limit_s: float = 60.0) -> None:
        """Wait until a condition on what was seen holds. Raises `TimeoutError`."""
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
