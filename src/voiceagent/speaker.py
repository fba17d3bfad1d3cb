"""A speaker in software: it plays reply frames by the clock and acknowledges what was heard, as the page's worklet does."""

from collections.abc import Callable
from dataclasses import dataclass, field

from voiceagent import protocol

RATE_HZ = protocol.RATE_HZ
START_DELAY_S = 0.04
"""What is gathered before an epoch begins to play, as in a browser's buffer."""
ACK_EVERY_S = 0.1
_HAIR_S = 1e-7
"""Sums of floating-point seconds fall a hair short of the sample they mean."""


@dataclass(slots=True, eq=False)
class _Epoch:
    """One reply being played: `position` of its samples were heard so far."""

    turn: int
    epoch: int
    pcm: bytearray = field(default_factory=bytearray)
    position: int = 0
    base_s: float | None = None  # when its sample 0 was, or would have been, played; None before it starts
    held: bool = False
    total: int | None = None
    acked_s: float = 0.0
    ended: bool = False


class Speaker:
    """`send` takes the acknowledgements. `advance` is to be called every few milliseconds with the time in seconds."""

    def __init__(self, send: Callable[[protocol.Message], None]) -> None:
        self._send = send
        self._now: _Epoch | None = None
        self._dropped = 0  # epochs up to this one are over
        self.heard = bytearray()  # everything that was played, in order

    @property
    def playing(self) -> int | None:
        """The epoch that can be heard at the moment."""
        epoch = self._now
        return epoch.epoch if epoch is not None and epoch.base_s is not None and not epoch.ended else None

    def heard_ms(self, epoch: int) -> float:
        """How much of an epoch was heard so far."""
        now = self._now
        return now.position * 1000 / RATE_HZ if now is not None and now.epoch == epoch else 0.0

    def frame(self, frame: protocol.ReplyFrame, now_s: float) -> None:
        """Take in a frame; a new epoch replaces the one before, an old one is dropped."""
        if frame.epoch <= self._dropped:
            return
        if self._now is None or frame.epoch > self._now.epoch:
            self.advance(now_s)
            self._now = _Epoch(frame.turn, frame.epoch, acked_s=now_s)
        if frame.first_sample * 2 == len(self._now.pcm):
            self._now.pcm += frame.pcm

    def advance(self, now_s: float) -> None:
        """Play up to now."""
        epoch = self._now
        if epoch is None or epoch.held or epoch.ended:
            return
        if epoch.base_s is None:
            if now_s - epoch.acked_s < START_DELAY_S - _HAIR_S:
                return
            epoch.base_s = epoch.acked_s = now_s
            self._send(protocol.Started(turn=epoch.turn, epoch=epoch.epoch, at_ms=now_s * 1000))
        there = len(epoch.pcm) // 2
        before, due = epoch.position, int((now_s - epoch.base_s + _HAIR_S) * RATE_HZ)
        epoch.position = min(there, due)
        if due > there:  # it starved: what comes later is played from then on
            epoch.base_s = now_s - there / RATE_HZ
        self.heard += epoch.pcm[before * 2 : epoch.position * 2]
        if epoch.total is not None and epoch.position >= epoch.total:
            epoch.ended = True
            self._send(protocol.Ended(turn=epoch.turn, epoch=epoch.epoch, samples=epoch.total))
        elif now_s - epoch.acked_s >= ACK_EVERY_S - _HAIR_S:
            epoch.acked_s = now_s
            self._send(protocol.Played(turn=epoch.turn, epoch=epoch.epoch, samples=epoch.position))

    def control(self, message: protocol.Message, now_s: float) -> None:
        """Take in a `Hold`, `Resume`, `Flush` or `ReplyEnd`."""
        self.advance(now_s)
        epoch = self._now if self._now is not None and self._now.epoch == getattr(message, "epoch", 0) else None
        samples = epoch.position if epoch is not None else 0
        match message:
            case protocol.Hold(turn=turn, epoch=number):
                if epoch is not None:
                    epoch.held = True
                self._send(protocol.Held(turn=turn, epoch=number, samples=samples))
            case protocol.Resume() if epoch is not None:
                epoch.held = False
                if epoch.base_s is not None:
                    epoch.base_s = now_s - epoch.position / RATE_HZ
            case protocol.Flush(turn=turn, epoch=number):
                self._dropped = max(self._dropped, number)
                if epoch is not None:
                    self._now = None
                self._send(protocol.Flushed(turn=turn, epoch=number, samples=samples))
            case protocol.ReplyEnd(samples=total) if epoch is not None:
                epoch.total = total
