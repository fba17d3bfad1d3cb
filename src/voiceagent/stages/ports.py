"""What the driver asks of a stage, and how a stage says that it failed; nothing of any provider."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from voiceagent.events import FinalTranscript, PartialTranscript, Stage, SttFailed
from voiceagent.heard import WordMark

Transcribed = PartialTranscript | FinalTranscript | SttFailed


class StageError(Exception):
    """A stage failed. `message` is a sentence for a person: it names the stage, the host and the cause, never a key."""

    def __init__(self, stage: Stage, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.stage: Stage = stage
        self.code = code
        self.message = message
        self.retryable = retryable


class SpeechToText(Protocol):
    """The user's audio in items, in order; their transcripts come back as facts.

    `open`, `append` and `commit` never wait: the stage keeps an item's audio until its final transcript is there, and
    can so repeat it on a new connection. Audio is PCM16 mono at 24 kHz.
    """

    def open(self, item: int) -> None:
        """Begin an item; what is appended from here on belongs to it."""

    def append(self, pcm: bytes) -> None:
        """Add audio to the open item."""

    def commit(self, item: int) -> None:
        """The item is complete: one `FinalTranscript` or `SttFailed` follows."""

    async def run(self) -> None:
        """Keep a connection and move audio and transcripts until cancelled; raises nothing else."""


SttFactory = Callable[[Callable[[Transcribed], None]], SpeechToText]


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a function."""

    call_id: str
    name: str
    arguments: str  # JSON, as the model wrote it


@dataclass(frozen=True, slots=True)
class Delta:
    """One step of a streamed answer: words, or, at its end, function calls and usage."""

    text: str = ""
    calls: tuple[ToolCall, ...] = ()
    usage: Mapping[str, int] = field(default_factory=dict)


class LanguageModel(Protocol):
    """Streams answers."""

    def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        """Request an answer; leaving the context closes the request at once. Raises `StageError`."""


class TextToSpeech(Protocol):
    """Streams speech."""

    def speak(self, text: str) -> AbstractAsyncContextManager[AsyncIterator[bytes | WordMark]]:
        """Request the audio of one phrase: PCM16 mono at 24 kHz in chunks of any size, odd ones too.

        Where the service tells when its words end, their marks stand in the stream, at best before their audio.
        Leaving the context closes the request at once. Raises `StageError`.
        """


@dataclass(frozen=True, slots=True)
class Stages:
    """The streams of a session."""

    stt: SttFactory
    llm: LanguageModel
    tts: TextToSpeech
    warm: Callable[[], Any]
    """Coroutine function: open connections before they are needed. Never raises."""
