"""What the twin asks of the engines behind it; the wire in front of them is the same for real and for scripted ones."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class EngineError(Exception):
    """An engine refuses or fails: the HTTP status, OpenAI's code, and a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class ConnectionDropped(Exception):  # noqa: N818 - an instruction of a fault plan
    """Close the connection without an answer."""


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The model asks for a function of the request."""

    name: str
    arguments: str  # JSON


@dataclass(frozen=True, slots=True)
class WordEnd:
    """So many characters of a text are said when so many milliseconds of its audio are over."""

    end_char: int
    end_ms: int


OnWords = Callable[[Sequence[WordEnd]], None]


class Transcription(Protocol):
    """One utterance being transcribed."""

    def append(self, pcm: bytes) -> None:
        """Add PCM16 mono at 24 kHz."""

    async def final(self) -> str:
        """Return the words of all of it. Raises `EngineError`, or `ConnectionDropped`."""

    def cancel(self) -> None:
        """Nobody wants it any more."""


class Engines(Protocol):
    """Speech recognition, a language model and speech synthesis."""

    async def start(self) -> None:
        """Begin to make ready what takes time; called once, in the server's loop."""

    async def aclose(self) -> None:
        """End every process and task."""

    def transcribe(
        self, on_partial: Callable[[str], None], connection: str = "", after: Transcription | None = None
    ) -> Transcription:
        """Begin an utterance of a connection; `on_partial` gets its words so far, each time it has more.

        `after` is the connection's last one, asked for its final words, if this may be the same sentence going on.
        """

    def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AsyncIterator[str | FunctionCall]:
        """Stream an answer in tokens. Raises `EngineError`."""

    def speak(self, text: str, voice: str, speed: float, on_words: OnWords | None = None) -> AsyncIterator[bytes]:
        """Stream PCM16 mono at 24 kHz. Raises `EngineError`.

        `on_words` gets, before each chunk, the words known to end in it or before, if the engine knows its words.
        """
