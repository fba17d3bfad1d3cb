"""The browser's clock, mapped onto the server's by the ping exchange."""

from collections import deque
from dataclasses import dataclass

from voiceagent.timeline import Network


@dataclass(frozen=True, slots=True)
class _Exchange:
    rtt_us: int
    offset_us: int


class ClockMap:
    """Keeps the last exchanges and trusts the one with the shortest round trip: it had the least room for error."""

    def __init__(self, keep: int = 8) -> None:
        self._exchanges: deque[_Exchange] = deque(maxlen=keep)

    def pong(self, sent_us: int, received_us: int, client_ms: float) -> None:
        """Take in one exchange: the ping left at `sent_us`, the answer came at `received_us` on the server's clock."""
        rtt_us = max(0, received_us - sent_us)  # the clock that both are of stands still at most
        offset_us = sent_us + rtt_us // 2 - round(client_ms * 1000)
        self._exchanges.append(_Exchange(rtt_us, offset_us))

    @property
    def known(self) -> bool:
        """Whether there was an exchange yet."""
        return bool(self._exchanges)

    @property
    def rtt_us(self) -> int:
        """The shortest round trip of late; 0 before the first exchange."""
        return min((exchange.rtt_us for exchange in self._exchanges), default=0)

    @property
    def network(self) -> Network | None:
        """The way to the browser as the last exchanges show it; None before the first."""
        if not self._exchanges:
            return None
        trips_us = [exchange.rtt_us for exchange in self._exchanges]
        best = min(self._exchanges, key=lambda exchange: exchange.rtt_us)
        return Network(best.rtt_us, max(trips_us) - best.rtt_us, best.offset_us)

    def to_server_us(self, client_ms: float) -> int | None:
        """Return the server's time at the browser's `client_ms`; None before the first exchange."""
        if not self._exchanges:
            return None
        best = min(self._exchanges, key=lambda exchange: exchange.rtt_us)
        return round(client_ms * 1000) + best.offset_us
