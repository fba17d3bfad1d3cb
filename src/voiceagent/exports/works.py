"""What each stage did in a turn, read from the turn's marks: when it was asked, when its first answer came, when it ended."""

from collections.abc import Mapping
from dataclasses import dataclass

# Each work: its name, the mark at which it was asked, those of its first useful answer (the first there is), and those of
# what it went on to do.
_WORKS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("stt", "commit", ("stt_final", "words_final"), ()),
    ("llm", "llm_request", ("llm_first_token",), ("first_clause", "llm_done")),
    ("tts", "tts_request", ("tts_first_byte",), ("tts_first_audible", "tts_done")),
    ("realtime", "llm_request", ("model_first_audio",), ("model_done",)),
    ("playback", "playback_start", ("playback_start",), ("playback_end", "flush_ack")),
)
STAGES = ("stt", "llm", "tts", "realtime")
"""The works that a back-end does; `realtime` is done in place of the other three, and `playback` by the browser."""


@dataclass(frozen=True, slots=True)
class Work:
    """One stage at work in a turn; times are in the marks' own unit and on their clock."""

    name: str
    asked: float
    first: float  # its first useful answer: the final transcript, the first token, the first byte of speech
    ended: float  # the last that the marks know of it

    @property
    def waited(self) -> float:
        """From the request to the first useful answer."""
        return self.first - self.asked


def works(marks: Mapping[str, float]) -> list[Work]:
    """Return what the stages did in a turn with these marks; a stage that never answered has none.

    An answer from before the request belongs to an earlier one, and is left out.
    """
    found = []
    for name, ask, firsts, more in _WORKS:
        asked = marks.get(ask)
        first = next((marks[mark] for mark in firsts if mark in marks), None)
        if asked is not None and first is not None and first >= asked:
            found.append(Work(name, asked, first, max([first, *(marks[mark] for mark in more if mark in marks)])))
    return found


def asked(marks: Mapping[str, float], name: str) -> float | None:
    """Return when a stage was asked in a turn with these marks, whether it answered or not."""
    return next((marks[ask] for work, ask, _, _ in _WORKS if work == name and ask in marks), None)
