"""The sessions of one server: how many there are, and which lost conversation somebody may come back to."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field

from voiceagent import protocol
from voiceagent.events import Left
from voiceagent.session import Ending, Session
from voiceagent.settings import Settings
from voiceagent.turns import PastTurn


@dataclass(slots=True)
class Kept:
    """A conversation whose browser may come back: running, or remembered until `until` (loop time)."""

    name: str
    session: Session | None
    done: asyncio.Event = field(default_factory=asyncio.Event)
    past: tuple[PastTurn, ...] = ()
    next_turn: int = 1
    until: float | None = None


class Sessions:
    """The sessions of one server: how many there are, and who may go on with which."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: OrderedDict[str, Kept] = OrderedDict()  # by resume token
        self._running = 0

    @property
    def full(self) -> bool:
        """Whether one more would be too many."""
        return self._running >= self._settings.max_sessions

    @property
    def running(self) -> int:
        """How many there are."""
        return self._running

    def enter(self, token: str | None) -> bool:
        """Take a place for a session; False if none is free. Who comes back to one that runs has that one's place."""
        kept = self._kept.get(token) if token else None
        if self.full and (kept is None or kept.session is None):
            return False
        self._running += 1
        return True

    def leave(self) -> None:
        """Give a place back."""
        self._running -= 1

    async def take_over(self, token: str | None) -> Kept | None:
        """Return the conversation that the token stands for; the connection that had it is replaced: newest wins."""
        kept = self._kept.pop(token, None) if token else None
        if kept is None:
            return None
        if kept.session is not None:
            text, hint = "This conversation goes on in another window.", "Press Start to take it back."
            kept.session.leave(Left("replaced", protocol.Close.REPLACED, text, hint))
            async with asyncio.timeout(self._settings.send_timeout_s * 2):
                await kept.done.wait()
        elif kept.until is not None and kept.until < asyncio.get_running_loop().time():
            return None
        return kept

    def begin(self, session: Session, token: str) -> Kept:
        """Note a session that runs from now on."""
        kept = self._kept[token] = Kept(session.name, session)
        return kept

    def end(self, kept: Kept, token: str, ending: Ending | None) -> None:
        """Note that it ended; keep it for a while if its browser may come back."""
        kept.session = None
        if ending is not None:
            kept.past, kept.next_turn = ending.past, ending.next_turn
        if ending is None or not ending.resumable:
            self._kept.pop(token, None)
        now_s = asyncio.get_running_loop().time()
        kept.until = now_s + self._settings.resume_s
        kept.done.set()
        for other, old in list(self._kept.items()):
            if old.until is not None and old.until < now_s:
                del self._kept[other]
