"""What the user said in items: their audio, kept until their words are there, and what a server has made of them.

A server knows one buffer, cut by our commits and, where it detects turns, by its own: an item of ours is one item of the
server's or several. The server tells of them in the order of the audio; their words may come in any order, and before it
is told whose they are.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from voiceagent.audio import RATE_HZ
from voiceagent.events import FinalTranscript, PartialTranscript, SttFailed
from voiceagent.settings import Settings
from voiceagent.stages.ports import StageError, Transcribed

BYTES_PER_MS = RATE_HZ * 2 // 1000
MIN_COMMIT_BYTES = 120 * BYTES_PER_MS  # the service refuses to commit less than 100 ms
CHUNK_BYTES = 200 * BYTES_PER_MS  # a message when there is a backlog
MAX_ITEMS = 16
MAX_HEARD = 64
MOST_TRIES = 3


@dataclass(slots=True, eq=False)
class Heard:
    """One item of the server's."""

    piece: "Piece | None" = None  # not known yet, or never
    words: str = ""  # its deltas, joined
    final: str | None = None
    failed: str = ""  # the code of its failure
    cut: bool = False  # by the server's own turn detection
    taken: bool = False  # its commit was told

    @property
    def over(self) -> bool:
        """Whether nothing of it is to come."""
        return self.final is not None or bool(self.failed)


@dataclass(slots=True, eq=False)
class Piece:
    """One item of the user's audio on its way."""

    key: int
    audio: bytearray = field(default_factory=bytearray)
    committed: bool = False
    tries: int = 0  # in vain: connections that were lost while they owed its words, files that got no answer
    # what the present connection knows of it
    sent: int = 0
    asked: bool = False  # its commit was sent
    answered: bool = False  # and taken, or refused because there was nothing in it
    heard: list[str] = field(default_factory=list)  # the server's items, in order
    news_s: float = 0.0  # of the loop's clock: when something last went forward


class Pieces:
    """The items of a session that are not finished, in the order they were spoken. `post` never blocks."""

    def __init__(self, settings: Settings, post: Callable[[Transcribed], None]) -> None:
        self.post = post
        self.work = asyncio.Event()  # there is something to send, or to look at
        self.idle = asyncio.Event()  # nothing is open or owed
        self.idle.set()
        self.finished = 0
        self._tail = bytes(settings.stt_tail_ms * BYTES_PER_MS)
        self._pieces: list[Piece] = []
        self._open: Piece | None = None
        self._heard: dict[str, Heard] = {}  # by item_id, of the present connection
        self._dead: StageError | None = None

    @property
    def all(self) -> tuple[Piece, ...]:
        """Those that are open or owed."""
        return tuple(self._pieces)

    # ------------------------------------------------------------------------------ what the user says
    def open(self, item: int) -> None:
        """Begin an item."""
        self._open = Piece(item)
        self._pieces.append(self._open)
        self.idle.clear()
        if len(self._pieces) > MAX_ITEMS:
            self.fail(self._pieces[0], "overrun", "Speech to text does not keep up.")

    def append(self, pcm: bytes) -> None:
        """Add audio to the open item."""
        if self._open is not None:
            self._open.audio += pcm
            self.work.set()

    def commit(self, item: int) -> None:
        """End the open item."""
        piece = self._open
        if piece is None or piece.key != item:
            return
        self._open = None
        piece.committed = True
        if not piece.audio:
            self.finish(piece, "")
            return
        piece.audio += self._tail
        piece.audio += bytes(max(0, MIN_COMMIT_BYTES - len(piece.audio)))
        self.work.set()
        if self._dead is not None:
            self.fail(piece, self._dead.code, self._dead.message)

    # ------------------------------------------------------------------------------ what the server says
    def cut(self, item_id: str) -> None:
        """Take in that the server's turn detection is about to commit an item."""
        self._item(item_id).cut = True
        self.speech(item_id)

    def speech(self, item_id: str) -> None:
        """Take in that the server has heard speech begin, which will be an item."""
        item, piece = self._item(item_id), self._current()
        if item.piece is None and piece is not None:
            self._give(item_id, piece)

    def taken(self, item_id: str, previous_id: str | None, now_s: float) -> None:
        """Take in a commit: the server tells of them in the order of the audio. One that is told twice is told once."""
        item = self._item(item_id)
        if item.taken:
            return
        before = self._heard.get(previous_id or "")
        waiting = [piece for piece in self._pieces if piece.asked and not piece.answered]
        if previous_id and (before is None or before.piece is None) and not item.cut and len(waiting) > 1:
            self.taken(previous_id, None, now_s)  # the word of it was lost, or comes late
        item.taken = True
        piece = item.piece or self._current()
        if piece is None:
            return
        if item.piece is None:
            self._give(item_id, piece)
        if previous_id in piece.heard:
            piece.heard.remove(item_id)
            piece.heard.insert(piece.heard.index(previous_id) + 1, item_id)
        piece.news_s = now_s
        piece.answered = piece.answered or (piece.asked and not item.cut)
        self._settle(piece)

    def words(self, item_id: str, delta: str, now_s: float) -> None:
        """Add to an item's words."""
        item = self._guess(item_id)
        item.words += delta
        piece = item.piece
        if piece is not None and piece in self._pieces and not item.over:
            piece.news_s = now_s
            said = (self._heard[one].final or self._heard[one].words for one in piece.heard)
            self.post(PartialTranscript(piece.key, _joined(said)))

    def over(self, item_id: str, transcript: str | None, code: str, now_s: float) -> None:
        """Take in an item's transcript, or the code of its failure. Each is told once."""
        item = self._guess(item_id)
        if item.over:
            return
        if transcript is None:
            item.failed = code or "failed"
        else:
            item.final = _whole(item.words, transcript)
        piece = item.piece
        if piece is not None:
            piece.news_s = now_s
            piece.answered = piece.answered or (piece.asked and not item.cut)
            self._settle(piece)

    def nothing_in(self, piece: Piece) -> None:
        """Take in that there was nothing to commit; what was committed before is still waited for."""
        piece.answered = True
        self._settle(piece)

    # ------------------------------------------------------------------------------ whose is it
    def _item(self, item_id: str) -> Heard:
        if item_id not in self._heard:
            owed = {one for piece in self._pieces for one in piece.heard}
            while len(self._heard) >= MAX_HEARD and (old := next((i for i in self._heard if i not in owed), None)):
                del self._heard[old]
            self._heard[item_id] = Heard()
        return self._heard[item_id]

    def _guess(self, item_id: str) -> Heard:
        """The item; where only one piece can be meant, it is that one's."""
        item = self._item(item_id)
        if item.piece is None and not item.taken:  # what was taken while nobody waited is nobody's
            candidates = [piece for piece in self._pieces if piece.sent and not piece.answered]
            if len(candidates) == 1 and not any(not self._heard[one].cut for one in candidates[0].heard):
                self._give(item_id, candidates[0])
        return item

    def _current(self) -> Piece | None:
        """The piece that the server is at: the first whose commit it has not answered."""
        return next((piece for piece in self._pieces if piece.sent and not piece.answered), None)

    def _give(self, item_id: str, piece: Piece) -> None:
        self._heard[item_id].piece = piece
        piece.heard.append(item_id)

    # ------------------------------------------------------------------------------ ends
    def _settle(self, piece: Piece) -> None:
        """Finish a piece if all that the server has made of it is there."""
        items = [self._heard[one] for one in piece.heard if self._heard[one].taken or self._heard[one].over]
        if not piece.answered or not all(item.over for item in items):
            return
        words = _joined(item.final or "" for item in items)
        failed = next((item.failed for item in items if item.failed), "")
        if failed and not words:
            self.fail(piece, failed, "Speech to text could not read what was said.")
        else:
            self.finish(piece, words)

    def overdue(self, piece: Piece) -> bool:
        """Whether a piece that waits too long is really missing: not if all that the server cut itself is there."""
        items = [self._heard[one] for one in piece.heard]
        if not piece.answered and items and all(item.cut and item.over for item in items):
            self.nothing_in(piece)
            return False
        return True

    def finish(self, piece: Piece, words: str) -> None:
        """An item has its words."""
        if self._remove(piece):
            self.finished += 1
            self.post(FinalTranscript(piece.key, words.strip(), piece.tries))

    def fail(self, piece: Piece, code: str, message: str) -> None:
        """An item has failed for good."""
        if self._remove(piece):
            self.post(SttFailed(piece.key, code, message, piece.tries))

    def _remove(self, piece: Piece) -> bool:
        if piece not in self._pieces:
            return False
        self._pieces.remove(piece)
        self._open = None if self._open is piece else self._open
        if not self._pieces:
            self.idle.set()
        return True

    def give_up(self, failure: StageError) -> None:
        """Nothing more is to be expected: what is committed fails, and so does whatever will be."""
        self._dead = failure
        for piece in self.all:
            if piece.committed:
                self.fail(piece, failure.code, failure.message)

    def forget_connection(self, failure: StageError | None = None) -> None:
        """All that is unfinished counts as unsent; what has outlived several connections in vain has failed."""
        self._heard.clear()
        for piece in self.all:
            piece.tries += piece.asked
            piece.sent, piece.asked, piece.answered = 0, False, False
            piece.heard.clear()
            if failure is not None and piece.tries >= MOST_TRIES:
                self.fail(piece, failure.code, failure.message)


def _joined(parts: Iterable[str]) -> str:
    return " ".join(filter(None, (part.strip() for part in parts)))


def _whole(deltas: str, transcript: str) -> str:
    """The transcript; the deltas, which are never taken back, where the transcript has lost their end."""
    said, told = deltas.strip(), transcript.strip()
    return said if told and said.startswith(told) else told
