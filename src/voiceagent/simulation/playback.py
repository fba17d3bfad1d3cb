"""The page's speaker by sample counts: what of each epoch was truly played, and what is acknowledged of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from voiceagent import protocol
from voiceagent.simulation.loop import VirtualLoop

BUFFER_US = 40_000
ACK_US = 100_000


@dataclass(slots=True, eq=False)
class Track:
    """One epoch in the browser; all but the times are samples."""

    turn: int
    epoch: int
    arrived: int = 0
    position: int = 0
    base_us: int | None = None  # sample 0 was (as if) played then; None before it starts
    held: bool = False
    total: int | None = None
    ended: bool = False


class Playback:
    """Plays one epoch at a time. `send` takes the acknowledgements, `audible` is told when an epoch begins to sound."""

    def __init__(
        self, loop: VirtualLoop, send: Callable[[protocol.Message], None], clock_ms: Callable[[], float],
        audible: Callable[[Track, Track | None], None],
    ) -> None:  # fmt: skip
        self.now: Track | None = None
        self.played: dict[int, int] = {}  # samples truly heard, by epoch
        self._loop, self._send, self._clock_ms, self._audible = loop, send, clock_ms, audible
        self._dropped = 0
        self._timer: Any = None

    @property
    def sounding(self) -> Track | None:
        """The epoch that can be heard at the moment."""
        track = self.now
        return track if track is not None and track.base_us is not None and not track.ended and not track.held else None

    def frame(self, frame: protocol.ReplyFrame) -> None:
        """Take in a frame; one of an epoch that was flushed is dropped."""
        if frame.epoch <= self._dropped:
            return
        track = self.now
        if track is None or frame.epoch > track.epoch:
            before = self.now
            self._advance()
            track = self.now = Track(frame.turn, frame.epoch)
            self._audible(track, before)
            self._in(BUFFER_US)
        if track.base_us is None:
            track.arrived += len(frame.pcm) // 2
            return
        self._advance()
        if track.position >= track.arrived and not track.held:  # it starved: from here on the time counts anew
            track.base_us = self._loop.now_us - _us(track.position)
        track.arrived += len(frame.pcm) // 2

    def control(self, message: protocol.Message) -> None:
        """Take in a `Hold`, `Resume`, `Flush` or `ReplyEnd`."""
        self._advance()
        track = self.now if self.now is not None and self.now.epoch == getattr(message, "epoch", 0) else None
        samples = track.position if track is not None else 0
        match message:
            case protocol.Hold(turn=turn, epoch=epoch):
                if track is not None:
                    track.held = True
                self._send(protocol.Held(turn=turn, epoch=epoch, samples=samples))
            case protocol.Resume() if track is not None:
                if track.held and track.base_us is not None:
                    track.base_us = self._loop.now_us - _us(track.position)
                track.held = False
                self._in(0 if track.base_us is None else self._until_next(track))
            case protocol.Flush(turn=turn, epoch=epoch):
                self._dropped = max(self._dropped, epoch)
                if track is not None:
                    self.now = None
                self._send(protocol.Flushed(turn=turn, epoch=epoch, samples=samples))
            case protocol.ReplyEnd(samples=total) if track is not None:
                track.total = total
                if track.base_us is not None:
                    self._in(self._until_next(track))

    def stop(self) -> None:
        """The page is closed."""
        self._advance()
        self.now = None
        if self._timer is not None:
            self._timer.cancel()

    # ------------------------------------------------------------------------------ playing
    def _in(self, delay_us: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.after_us(delay_us, self._tick)

    def _until_next(self, track: Track) -> int:
        """Microseconds until the end, or until the next acknowledgement."""
        if track.total is None:
            return ACK_US
        return min(ACK_US, max(0, _us(track.total - track.position) + 1))

    def _tick(self) -> None:
        self._timer = None
        track = self.now
        if track is None or track.held or track.ended:
            return
        if track.base_us is None:
            track.base_us = self._loop.now_us
            self._send(protocol.Started(turn=track.turn, epoch=track.epoch, at_ms=self._clock_ms()))
            self._in(self._until_next(track))
            return
        self._advance()
        if track.total is not None and track.position >= track.total:
            track.ended = True
            self._send(protocol.Ended(turn=track.turn, epoch=track.epoch, samples=track.position))
            return
        self._send(protocol.Played(turn=track.turn, epoch=track.epoch, samples=track.position))
        self._in(self._until_next(track))

    def _advance(self) -> None:
        track = self.now
        if track is None or track.held or track.ended or track.base_us is None:
            return
        due = (self._loop.now_us - track.base_us) * 24 // 1000
        if due > track.arrived:
            track.base_us = self._loop.now_us - _us(track.arrived)
            due = track.arrived
        if due > track.position:
            track.position = due
            self.played[track.epoch] = due


def _us(samples: int) -> int:
    return samples * 1000 // 24
