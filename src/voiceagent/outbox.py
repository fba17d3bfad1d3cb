"""What goes out to the browser, and when: control first, then the reply's audio, a little ahead of the speaker.

Audio waits here, behind the gate, until `open` is called for its epoch. It is paced on the speaker's estimated position:
the lead is what a barge-in has to throw away, and what bridges the network's jitter.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

from voiceagent import protocol
from voiceagent.audio import RATE_HZ, samples_to_us, us_to_samples

FRAME_SAMPLES = RATE_HZ * 40 // 1000
MAX_CONTROL = 1024
MAX_WAITING_SAMPLES = RATE_HZ * 20
"""Audio of one reply that may wait here; a faster synthesiser is held back."""


class Overflow(Exception):  # noqa: N818 - what happened, not whose error
    """The browser takes nothing any more: the control queue is full."""


class Outbox:
    """One session's way out. `send` writes one message to the socket; it is awaited under a deadline by `run`."""

    def __init__(
        self,
        send: Callable[[str | bytes], Awaitable[None]],
        now_us: Callable[[], int],
        *,
        lead_us: int,
        send_timeout_s: float,
        on_first_frame: Callable[[int, int], None],
    ) -> None:
        self._send = send
        self._now_us = now_us
        self._lead = us_to_samples(lead_us)
        self._send_timeout_s = send_timeout_s
        self._on_first_frame = on_first_frame  # epoch, time
        self._control: deque[str] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._reset(0, 0)

    def _reset(self, turn: int, epoch: int) -> None:
        self._turn, self._epoch = turn, epoch
        self._audio = bytearray()
        self._sent = 0  # samples of this epoch that went out
        self._total: int | None = None  # the epoch's length, once known
        self._open = False
        self._held_at: int | None = None  # the speaker stands at this sample
        self._base_us = 0  # the speaker's sample 0 was (as if) played then
        self._room.set()

    # ------------------------------------------------------------------------------ control
    def put(self, message: protocol.Message) -> None:
        """Queue a control message; it overtakes all audio. Raises `Overflow`."""
        if len(self._control) >= MAX_CONTROL:
            raise Overflow
        self._control.append(message.model_dump_json())
        self._wake.set()

    # ------------------------------------------------------------------------------ one epoch's audio
    def begin(self, turn: int, epoch: int) -> None:
        """Take in the audio of a new epoch from here on, behind the closed gate."""
        self._reset(turn, epoch)

    async def audio(self, epoch: int, pcm: bytes) -> None:
        """Add audio to the epoch and wait while there is too much; audio of any other epoch is dropped."""
        if epoch == self._epoch:
            self._audio += pcm
            self._wake.set()
        while epoch == self._epoch and len(self._audio) > MAX_WAITING_SAMPLES * 2:
            self._room.clear()
            await self._room.wait()

    def complete(self, epoch: int, samples: int) -> None:
        """The epoch has so many samples in all: after the last one the browser is told."""
        if epoch == self._epoch:
            self._total = samples
            self._wake.set()

    def open(self, epoch: int) -> None:
        """Open the gate."""
        if epoch == self._epoch:
            self._open = True
            self._wake.set()

    def played(self, epoch: int, samples: int) -> None:
        """The browser says that it has played so many samples: the speaker is at least there."""
        if epoch == self._epoch and self._open:
            if self._held_at is not None:
                self._held_at = min(samples, self._sent)
            elif samples > self._position():
                self._base_us = self._now_us() - samples_to_us(min(samples, self._sent))

    def hold(self, epoch: int) -> None:
        """Send no more of it until `resume`."""
        if epoch == self._epoch:
            self._held_at = self._position()
            self.put(protocol.Hold(turn=self._turn, epoch=epoch))

    def resume(self, epoch: int) -> None:
        """Go on from where it was held."""
        if epoch == self._epoch and self._held_at is not None:
            self._base_us = self._now_us() - samples_to_us(self._held_at)
            self._held_at = None
            self.put(protocol.Resume(turn=self._turn, epoch=epoch))

    def flush(self, turn: int, epoch: int) -> None:
        """Drop the epoch here and in the browser. No frame of it goes out after the flush."""
        self.put(protocol.Flush(turn=turn, epoch=epoch))
        self.drop(epoch)

    def drop(self, epoch: int) -> None:
        """Forget the epoch: nothing of it waits or is taken any more."""
        if epoch == self._epoch:
            self._reset(0, 0)

    def _position(self) -> int:
        """Where the speaker is believed to be, in samples of the epoch; never beyond what was sent."""
        if self._held_at is not None:
            return self._held_at
        if self._sent == 0:
            return 0
        return min(self._sent, us_to_samples(self._now_us() - self._base_us))

    # ------------------------------------------------------------------------------ the sender
    async def run(self) -> None:
        """Send until cancelled. Raises `TimeoutError` if the browser takes nothing for the send deadline."""
        while True:
            self._wake.clear()
            if self._all_sent:
                self._tell_end()
            if self._control:
                await self._write(self._control.popleft())
                continue
            wait_s = self._wait_s()
            if wait_s == 0:
                await self._write(self._frame())
                continue
            with suppress(TimeoutError):  # the speaker has come nearer: time for the next frame
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def drain(self) -> None:
        """Write what control there is: the last words before the socket closes."""
        while self._control:
            await self._write(self._control.popleft())

    async def _write(self, message: str | bytes) -> None:
        async with asyncio.timeout(self._send_timeout_s):
            await self._send(message)

    @property
    def _all_sent(self) -> bool:
        return self._open and self._total is not None and self._sent >= self._total

    def _tell_end(self) -> None:
        end = protocol.ReplyEnd(turn=self._turn, epoch=self._epoch, samples=self._sent)
        self._open = False  # nothing more of this epoch goes out
        self.put(end)

    def _wait_s(self) -> float | None:
        """How long the next frame has to wait: 0 is not at all, None until something else happens."""
        if not self._open or self._held_at is not None or not self._audio:
            return None
        ahead = self._sent - self._position() - self._lead
        return 0 if ahead < 0 else samples_to_us(ahead + 1) / 1e6

    def _frame(self) -> bytes:
        """Take the next frame out of the waiting audio."""
        now_us = self._now_us()
        pcm = bytes(self._audio[: FRAME_SAMPLES * 2])
        del self._audio[: len(pcm)]
        if len(self._audio) <= MAX_WAITING_SAMPLES * 2:
            self._room.set()
        frame = protocol.ReplyFrame(self._turn, self._epoch, self._sent, pcm)
        if self._sent == 0:
            self._on_first_frame(self._epoch, now_us)
        if self._position() >= self._sent:  # it starved, or begins: from here the speaker's time counts anew
            self._base_us = now_us - samples_to_us(self._sent)
        self._sent += len(pcm) // 2
        return frame.pack()
