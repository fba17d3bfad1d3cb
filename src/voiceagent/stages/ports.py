"""What the driver asks of a stage, and how a stage says that it failed; nothing of any provider."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from voiceagent.events import FinalTranscript, PartialTranscript, Stage, SttConnected, SttFailed
from voiceagent.heard import WordMark

Transcribed = PartialTranscript | FinalTranscript | SttFailed | SttConnected


class StageError(Exception):
    """A stage failed. `message` is a sentence for a person: it names the stage, the host and the cause, never a key."""

    def __init__(
        self, stage: Stage, code: str, message: str, *, retryable: bool, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.stage: Stage = stage
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after_s = retry_after_s  # the server's wish, if it has one


@dataclass(frozen=True, slots=True)
class Acquired:
    """How a request came by its connection: how long that took, and whether it was there already."""

    acquire_us: int
    reused: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """What a request has cost and how it went, by names of the record (``tts_output_tokens``, ``tts_drifts``)."""

    counts: Mapping[str, int]


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
    """One step of a streamed answer: words, the first with their connection, or, at its end, function calls and usage."""

    text: str = ""
    acquired: Acquired | None = None
    calls: tuple[ToolCall, ...] = ()
    usage: Mapping[str, int] = field(default_factory=dict)


class LanguageModel(Protocol):
    """Streams answers."""

    def reply(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]
    ) -> AbstractAsyncContextManager[AsyncIterator[Delta]]:
        """Request an answer; leaving the context closes the request at once. Raises `StageError`."""


SpeechPart = bytes | WordMark | Acquired | Usage


class TextToSpeech(Protocol):
    """Streams speech."""

    def speak(self, text: str) -> AbstractAsyncContextManager[AsyncIterator[SpeechPart]]:
        """Request the audio of one phrase: PCM16 mono at 24 kHz in chunks of any size, odd ones too.

        Where the service tells when its words end, their marks stand in the stream, at best before their audio. How the
        connection was come by stands before the first audio, and comes with it: nothing comes before there is sound.
        Leaving the context closes the request at once. Raises `StageError`.
        """


SpokenPart = bytes | WordMark | Delta
"""Of a voice model's answer: audio, words of its transcript with calls and usage, and marks where they are told."""


class SpeechToSpeech(SpeechToText, Protocol):
    """One voice model that hears the items of `SpeechToText` itself; their transcripts are for the record alone."""

    def discard(self, item: int) -> None:
        """Forget an item that is not committed: nobody wanted the floor."""

    def typed(self, text: str) -> None:
        """Put a line that was typed into the conversation."""

    def respond(
        self, epoch: int, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], canned: str
    ) -> AbstractAsyncContextManager[AsyncIterator[SpokenPart]]:
        """Have the model answer all that was committed, or say the `canned` words.

        `messages` are the conversation as it was heard: a new connection is told of it first. Leaving the context ends
        the answer at once, and the connection stays. Raises `StageError`.
        """

    def result(self, call_id: str, output: str) -> None:
        """Answer a function call; the next `respond` goes on with it."""

    def heard(self, epoch: int, samples: int) -> None:
        """Tell the model how much of an answer that was cut off was heard; of none of it, it knows no more."""


VoiceFactory = Callable[[Callable[[Transcribed], None]], SpeechToSpeech]


@dataclass(frozen=True, slots=True)
class Stages:
    """The streams of a session."""

    stt: SttFactory
    llm: LanguageModel
    tts: TextToSpeech
    warm: Callable[[], Any]
    """Coroutine function: open connections before they are needed. Never raises."""
    voice: VoiceFactory | None = None
    """One model in place of the three."""
    hosts: Mapping[Stage, str] = field(default_factory=dict)
    """Where each is served, for sentences."""
