"""What goes out to the browser, and when: control first, then the reply's audio, a little ahead of the speaker.

Audio waits here, behind the gate, until `open` is called for its epoch; no more than one epoch is open at a time. It is
paced on the speaker's estimated position: the lead is what a barge-in has to throw away, and what bridges the network's
jitter.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from voiceagent import protocol
from voiceagent.audio import RATE_HZ, samples_to_us, us_to_samples

FRAME_SAMPLES = RATE_HZ * 40 // 1000
MAX_CONTROL = 1024
MAX_STREAMS = 4
MAX_WAITING_SAMPLES = RATE_HZ * 20
"""Audio of one reply that may wait here; a faster synthesiser is held back."""


class Overflow(Exception):  # noqa: N818 - what happened, not whose error
    """The browser takes nothing any more: the control queue is full."""


@dataclass(slots=True, eq=False)
class _Stream:
    """The audio of one epoch on its way; `sent` and `total` are samples."""

    turn: int
    epoch: int
    filler: bool
    audio: bytearray = field(default_factory=bytearray)
    sent: int = 0
    total: int | None = None  # once known
    open: bool = False
    ended: bool = False  # the browser was told that this is all
    held_at: int | None = None  # the speaker stands at this sample
    base_us: int = 0  # the speaker's sample 0 was (as if) played then
    room: asyncio.Event = field(default_factory=asyncio.Event)  # less waits than may

    def position(self, now_us: int) -> int:
        """Where the speaker is believed to be, in samples of the epoch; never beyond what was sent."""
        if self.held_at is not None:
            return self.held_at
        return min(self.sent, us_to_samples(now_us - self.base_us)) if self.sent else 0


class Outbox:
    """One session's way out. `send` writes one message to the socket; it is awaited under a deadline by `run`."""

    def __init__(
        self,
        send: Callable[[protocol.Message | protocol.ReplyFrame], Awaitable[None]],
        now_us: Callable[[], int],
        *,
        lead_us: int,
        send_timeout_s: float,
        on_first_frame: Callable[[int, int], None],
        on_playing: Callable[[int, bytes], None],
        on_silent: Callable[[], None],
        on_resumed: Callable[[int], None],
        on_underrun: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self._send = send
        self._now_us = now_us
        self._lead = us_to_samples(lead_us)
        self._send_timeout_s = send_timeout_s
        self._on_first_frame = on_first_frame  # epoch, time
        self._on_playing = on_playing  # when it is believed to be played, audio
        self._on_silent = on_silent  # the speaker will play no more of what went out
        self._on_resumed = on_resumed  # it plays what was held, so much later
        self._on_underrun = on_underrun  # turn, epoch: the speaker has played all there was, and here is more
        self._control: deque[protocol.Message] = deque()
        self._wake = asyncio.Event()
        self._streams: dict[int, _Stream] = {}

    # ------------------------------------------------------------------------------ control
    def put(self, message: protocol.Message) -> None:
        """Queue a control message; it overtakes all audio. Raises `Overflow`."""
        if len(self._control) >= MAX_CONTROL:
            raise Overflow
        self._control.append(message)
        self._wake.set()

    @property
    def waiting(self) -> int:
        """Messages and frames that are to be sent."""
        frame_bytes = FRAME_SAMPLES * 2
        return len(self._control) + sum(-(-len(stream.audio) // frame_bytes) for stream in self._streams.values())

    # ------------------------------------------------------------------------------ one epoch's audio
    def begin(self, turn: int, epoch: int, *, filler: bool = False) -> None:
        """Take in the audio of a new epoch from here on, behind the closed gate."""
        self._streams = {number: stream for number, stream in self._streams.items() if not stream.ended}
        if len(self._streams) >= MAX_STREAMS:
            raise AssertionError("an epoch was neither played nor dropped")
        self._streams[epoch] = _Stream(turn, epoch, filler)

    async def audio(self, epoch: int, pcm: bytes) -> None:
        """Add audio to the epoch and wait while there is too much; audio of an epoch that was dropped is dropped."""
        self.put_audio(epoch, pcm)
        stream = self._streams.get(epoch)
        if stream is None:
            return
        while epoch in self._streams and len(stream.audio) > MAX_WAITING_SAMPLES * 2:
            stream.room.clear()
            await stream.room.wait()

    def put_audio(self, epoch: int, pcm: bytes) -> None:
        """Add audio to the epoch without waiting: for what is short."""
        if (stream := self._streams.get(epoch)) is not None:
            stream.audio += pcm
            self._wake.set()

    def complete(self, epoch: int, samples: int) -> None:
        """The epoch has so many samples in all: after the last one the browser is told."""
        if (stream := self._streams.get(epoch)) is not None:
            stream.total = samples
            self._wake.set()

    def open(self, epoch: int) -> None:
        """Open the gate."""
        if (stream := self._streams.get(epoch)) is not None:
            stream.open = True
            self._wake.set()

    def played(self, epoch: int, samples: int) -> None:
        """The browser says that it has played so many samples: the speaker is at least there."""
        stream = self._streams.get(epoch)
        if stream is None or not stream.open or stream.ended:
            return
        if stream.held_at is not None:
            stream.held_at = min(samples, stream.sent)
        elif samples > stream.position(self._now_us()):
            stream.base_us = self._now_us() - samples_to_us(min(samples, stream.sent))

    def hold(self, epoch: int) -> None:
        """Send no more of it until `resume`."""
        if (stream := self._streams.get(epoch)) is not None:
            stream.held_at = stream.position(self._now_us())
            self.put(protocol.Hold(turn=stream.turn, epoch=epoch))
            self._on_silent()

    def resume(self, epoch: int) -> None:
        """Go on from where it was held."""
        stream = self._streams.get(epoch)
        if stream is not None and stream.held_at is not None:
            base_us = self._now_us() - samples_to_us(stream.held_at)
            self._on_resumed(base_us - stream.base_us)
            stream.base_us = base_us
            stream.held_at = None
            self.put(protocol.Resume(turn=stream.turn, epoch=epoch))

    def flush(self, turn: int, epoch: int) -> None:
        """Drop the epoch here and in the browser. No frame of it goes out after the flush."""
        self.put(protocol.Flush(turn=turn, epoch=epoch))
        self.drop(epoch)
        self._on_silent()

    def drop(self, epoch: int) -> None:
        """Forget the epoch: nothing of it waits or is taken any more."""
        if (stream := self._streams.pop(epoch, None)) is not None:
            stream.room.set()

    # ------------------------------------------------------------------------------ the sender
    async def run(self) -> None:
        """Send until cancelled. Raises `TimeoutError` if the browser takes nothing for the send deadline."""
        while True:
            self._wake.clear()
            stream = self._sending()
            if stream is not None and stream.total is not None and stream.sent >= stream.total:
                self._tell_end(stream)
            if self._control:
                await self._write(self._control.popleft())
                continue
            wait_s = self._wait_s(stream)
            if stream is not None and wait_s == 0:
                await self._write(self._frame(stream))
                continue
            with suppress(TimeoutError):  # the speaker has come nearer: time for the next frame
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def drain(self) -> None:
        """Write what control there is: the last words before the socket closes."""
        while self._control:
            await self._write(self._control.popleft())

    async def _write(self, message: protocol.Message | protocol.ReplyFrame) -> None:
        async with asyncio.timeout(self._send_timeout_s):
            await self._send(message)

    def _sending(self) -> _Stream | None:
        """The epoch whose gate is open."""
        for stream in self._streams.values():
            if stream.open and not stream.ended:
                return stream
        return None

    def _tell_end(self, stream: _Stream) -> None:
        stream.ended = True  # nothing more of this epoch goes out
        self.put(protocol.ReplyEnd(turn=stream.turn, epoch=stream.epoch, samples=stream.sent))

    def _wait_s(self, stream: _Stream | None) -> float | None:
        """How long the next frame has to wait: 0 is not at all, None until something else happens."""
        if stream is None or stream.held_at is not None or stream.ended or not stream.audio:
            return None
        ahead = stream.sent - stream.position(self._now_us()) - self._lead
        return 0 if ahead < 0 else samples_to_us(ahead + 1) / 1e6

    def _frame(self, stream: _Stream) -> protocol.ReplyFrame:
        """Take the next frame out of the waiting audio."""
        now_us = self._now_us()
        pcm = bytes(stream.audio[: FRAME_SAMPLES * 2])
        del stream.audio[: len(pcm)]
        if len(stream.audio) <= MAX_WAITING_SAMPLES * 2:
            stream.room.set()
        frame = protocol.ReplyFrame(stream.turn, stream.epoch, stream.sent, pcm, stream.filler)
        if stream.sent == 0:
            self._on_first_frame(stream.epoch, now_us)
        if stream.position(now_us) >= stream.sent:  # it starved, or begins: from here the speaker's time counts anew
            stream.base_us = now_us - samples_to_us(stream.sent)
            if stream.sent:
                self._on_underrun(stream.turn, stream.epoch)
        self._on_playing(stream.base_us + samples_to_us(stream.sent), pcm)
        stream.sent += len(pcm) // 2
        return frame
