"""The page and its network: messages that keep their order and lose their time, a microphone in blocks, a playback."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from voiceagent import protocol
from voiceagent.incoming import Gone
from voiceagent.simulation.loop import VirtualLoop
from voiceagent.simulation.playback import Playback, Track
from voiceagent.simulation.script import STEP_MS, audio

CLOCK_AHEAD_MS = 5_000_000.0  # the browser's clock began at another time


@dataclass(frozen=True, slots=True)
class Network:
    """The way to the server and back, in milliseconds on a grid of ten. `stalls` are (from, to) since the session began."""

    up_ms: int = 20
    down_ms: int = 20
    jitter_ms: tuple[int, ...] = (0,)
    stalls: tuple[tuple[int, int], ...] = ()
    block_steps: int = 10  # of the microphone in a frame


class Watched(Protocol):
    """Who is told what passes the socket and what can be heard."""

    def sent(self, message: Any) -> None:
        """The server sends."""

    def sounds(self, track: Track, before: Track | None) -> None:
        """An epoch begins in the browser; `before` is what was there."""


class Browser:
    """`voiceagent.session.Socket`, with a person's page behind it."""

    def __init__(self, loop: VirtualLoop, network: Network, draw: random.Random, watch: Watched) -> None:
        self.loop = loop
        self.start_us = loop.now_us
        self.leaf = "listening"  # as the page was told
        self.playback = Playback(loop, self.send_up, self.clock_ms, self._audible)
        self.closed: tuple[int, str] | None = None
        self.gone = False
        self.answers = True  # pings, and everything else
        self.muted = False
        self.mic_hangs = False
        self.clock_jump_ms = 0.0
        self.sent_steps = 0  # of the microphone
        self.on_change: Callable[[], None] = lambda: None
        self.on_clock: Callable[[], None] = lambda: None  # before the clock jumps
        self._network, self._draw, self._watch = network, draw, watch
        self._inbox: deque[Any] = deque()  # what has reached the server
        self._waiting: asyncio.Future[None] | None = None
        self._up: deque[tuple[int, Any]] = deque()
        self._down: deque[tuple[int, Any]] = deque()
        self._up_us = self._down_us = 0  # when the last one arrives
        self._timers: dict[str, Any] = {}
        self._seq = 0
        self._block_steps = network.block_steps
        self._block_us = network.block_steps * STEP_MS * 1000
        self._timers["mic"] = loop.after_us(self._block_us, self._capture, 0)

    # ------------------------------------------------------------------------------ the clock
    @property
    def step(self) -> int:
        """The present step of the script."""
        return (self.loop.now_us - self.start_us) // (STEP_MS * 1000)

    def clock_ms(self) -> float:
        """The browser's clock."""
        return max(0.0, self.loop.now_us / 1000 + CLOCK_AHEAD_MS + self.clock_jump_ms)

    # ------------------------------------------------------------------------------ the socket
    async def receive(self) -> Any:
        """The server reads."""
        while not self._inbox:
            if self.gone:
                raise Gone
            self._waiting = self.loop.create_future()
            await self._waiting
        return self._inbox.popleft()

    async def send(self, message: Any) -> None:
        """The server writes: into a buffer, unless the network stands still for long."""
        if self.gone:
            raise Gone
        self._watch.sent(message)
        if len(self._down) > 200:  # the socket's buffer is full
            await asyncio.sleep(max(0.0, (self._down[-100][0] - self.loop.now_us) / 1e6))
        self._down_us = self._arrival(self._down_us, self._network.down_ms)
        self._down.append((self._down_us, message))
        if len(self._down) == 1:
            self._timers["down"] = self.loop.after_us(self._down_us - self.loop.now_us, self._receive_down)

    async def close(self, code: int, reason: str) -> None:
        """The server closes."""
        self.closed = (code, reason)
        self._shut()

    def _arrival(self, last_us: int, delay_ms: int) -> int:
        now_us, jitter_ms = self.loop.now_us, self._network.jitter_ms
        if self._network.stalls:
            at_ms = (now_us - self.start_us) // 1000
            for begin, end in self._network.stalls:
                if begin <= at_ms < end:
                    delay_ms += end - at_ms
        if len(jitter_ms) > 1:
            delay_ms += jitter_ms[int(self._draw.random() * len(jitter_ms))]
        return max(last_us, now_us + delay_ms * 1000)

    def send_up(self, message: Any) -> None:
        """Send a message to the server."""
        if self.gone or self.closed is not None or not self.answers:
            return
        self._up_us = self._arrival(self._up_us, self._network.up_ms)
        self._up.append((self._up_us, message))
        if len(self._up) == 1:
            self._timers["up"] = self.loop.after_us(self._up_us - self.loop.now_us, self._receive_up)

    def _receive_up(self) -> None:
        now_us, up = self.loop.now_us, self._up
        while up and up[0][0] <= now_us:
            self._inbox.append(up.popleft()[1])
        if up:
            self._timers["up"] = self.loop.after_us(up[0][0] - now_us, self._receive_up)
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def _receive_down(self) -> None:
        now_us, down = self.loop.now_us, self._down
        while down and down[0][0] <= now_us:
            self._take(down.popleft()[1])
        if down:
            self._timers["down"] = self.loop.after_us(down[0][0] - now_us, self._receive_down)

    # ------------------------------------------------------------------------------ the page
    def _take(self, message: Any) -> None:
        if not self.answers:
            return
        if isinstance(message, protocol.ReplyFrame):
            self.playback.frame(message)
        elif isinstance(message, protocol.Ping):
            self.send_up(protocol.Pong(id=message.id, client_ms=self.clock_ms()))
        elif isinstance(message, protocol.State):
            self.leaf = message.leaf
            self.on_change()
        elif isinstance(message, protocol.Hold | protocol.Resume | protocol.Flush | protocol.ReplyEnd):
            self.playback.control(message)
            self.on_change()

    def _audible(self, track: Track, before: Track | None) -> None:
        self._watch.sounds(track, before)
        self.on_change()

    def _capture(self, first: int) -> None:
        """Send the block that ends now."""
        steps = self._block_steps
        self._timers["mic"] = self.loop.after_us(self._block_us, self._capture, first + steps)
        if self.muted or self.mic_hangs:
            return
        captured_ms = max(0.0, self.clock_ms() - steps * STEP_MS)
        self.sent_steps += steps
        self.send_up(protocol.MicFrame(self._seq, captured_ms, audio(first, steps)))
        self._seq += 1

    # ------------------------------------------------------------------------------ leaving
    def vanish(self) -> None:
        """Leave without a word; the server's system notices."""
        self._shut()

    def fall_silent(self) -> None:
        """Be cut off: nothing passes any more, and no system says so."""
        self.answers = False

    def _shut(self) -> None:
        self.gone = True
        self.playback.stop()
        for timer in self._timers.values():
            timer.cancel()
        self._up.clear()
        self._down.clear()
        self._wake()
