"""What the browser and the server say to each other: the messages, the binary frames, and nothing of what they mean.

One WebSocket at ``/ws`` carries both directions. Control is JSON text: one object a message, told apart by its ``type``.
Audio is binary: a 16-byte little-endian header and PCM16 mono at 24 kHz. The page in ``web/`` and ``voiceagent call`` are
the two clients; docs/protocol.md is generated from this module.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from voiceagent.frames import (
    FRAME_MS,
    FRAME_SAMPLES,
    HEADER_BYTES,
    MAX_MIC_SAMPLES,
    RATE_HZ,
    MicFrame,
    ProtocolError,
    ReplyFrame,
)

__all__ = [
    "FRAME_MS", "FRAME_SAMPLES", "HEADER_BYTES", "MAX_MIC_SAMPLES", "RATE_HZ", "MicFrame", "ProtocolError", "ReplyFrame",
]  # fmt: skip

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 64 * 1024
MAX_TEXT_CHARS = 4_000


# ----------------------------------------------------------------------------- browser -> server
class Message(BaseModel):
    """A JSON message. Unknown fields are refused: a misspelt field is an error, not a silence."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: str


Millis = Annotated[float, Field(ge=0, lt=1e15, allow_inf_nan=False)]
Samples = Annotated[int, Field(ge=0, lt=2**32)]
Number = Annotated[int, Field(ge=0, lt=2**32)]


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Hello(Message):
    """The first message. Anything else before it is refused with ``hello_first``."""

    type: Literal["hello"] = "hello"
    version: int = Field(description="The protocol version the client speaks; the server answers 4406 to another.")
    token: str | None = Field(None, max_length=256, description="The access token, where the server asks for one.")
    resume: str | None = Field(None, max_length=256, description="The `resume_token` of the session to go on with.")
    client: str = Field("", max_length=200, description="Name and version of the client, for the log.")
    mode: Literal["cascade", "realtime"] | None = Field(
        None, description="Three streams, or one voice model; as set in the server if unset."
    )
    patience: Share | None = Field(
        None, description="The dial from fast (0) to patient (1); as set in the server if unset."
    )


class Pong(Message):
    """The answer to `Ping`, at once: it maps the browser's clock onto the server's."""

    type: Literal["pong"] = "pong"
    id: Number
    client_ms: Millis = Field(description="The browser's clock (performance.now()) when the ping arrived.")


class Started(Message):
    """The first sample of an epoch reached the speaker."""

    type: Literal["started"] = "started"
    turn: Number
    epoch: Number
    at_ms: Millis = Field(description="The browser's clock at that moment, output latency included.")


class Played(Message):
    """How much of an epoch was played, about every 100 ms while it plays."""

    type: Literal["played"] = "played"
    turn: Number
    epoch: Number
    samples: Samples = Field(description="Samples played since the epoch began.")


class Held(Message):
    """The answer to `Hold`: playback stands still at this sample."""

    type: Literal["held"] = "held"
    turn: Number
    epoch: Number
    samples: Samples


class Flushed(Message):
    """The answer to `Flush`: everything of the epoch that was not played is gone."""

    type: Literal["flushed"] = "flushed"
    turn: Number
    epoch: Number
    samples: Samples = Field(description="Samples that were heard; 0 if not one was.")


class Ended(Message):
    """The last sample of an epoch was heard: `ReplyEnd` has come and everything was played."""

    type: Literal["ended"] = "ended"
    turn: Number
    epoch: Number
    samples: Samples


class Text(Message):
    """The user typed instead of speaking."""

    type: Literal["text"] = "text"
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)


class PushToTalk(Message):
    """The talk key went down or up. While it is down the pause does not end the turn."""

    type: Literal["ptt"] = "ptt"
    down: bool


class Mute(Message):
    """The user muted or unmuted the microphone; a muted client sends no frames."""

    type: Literal["mute"] = "mute"
    muted: bool


class Tune(Message):
    """The user turned the dial between a fast agent (0) and a patient one (1)."""

    type: Literal["tune"] = "tune"
    patience: Share


class EchoTest(Message):
    """What the page's self-test found: how loud the agent's own voice comes back through the microphone."""

    type: Literal["echo_test"] = "echo_test"
    gain_db: float = Field(
        ge=-96, le=24, allow_inf_nan=False, description="Level at the microphone less the level played; -96: not heard."
    )


class HangUp(Message):
    """The user ends the conversation; the server closes with 1000."""

    type: Literal["hang_up"] = "hang_up"


ClientMessage = Annotated[
    Hello | Pong | Started | Played | Held | Flushed | Ended | Text | PushToTalk | Mute | Tune | EchoTest | HangUp,
    Field(discriminator="type"),
]
_CLIENT = TypeAdapter[Any](ClientMessage)


# ----------------------------------------------------------------------------- server -> browser
class Welcome(Message):
    """The answer to `Hello`: the session stands, audio may come."""

    type: Literal["welcome"] = "welcome"
    version: int
    session: str = Field(description="The session's name in the log.")
    resume_token: str = Field(
        description="Put it into the next hello to go on after a lost network; new at each hello."
    )
    resumed: bool = Field(description="Whether an earlier conversation goes on.")
    backend: Literal["local", "openai"] = Field(description="Who answers: the local twin, or a service with a key.")
    mode: Literal["cascade", "realtime"] = Field("cascade", description="Three streams, or one voice model.")
    models: dict[str, str] = Field(
        description="The models by stage: stt, llm, tts, or realtime and the transcripts' stt."
    )
    rate_hz: int = RATE_HZ
    frame_ms: int = FRAME_MS
    patience: float = Field(0.5, description="Where the dial stands: 0 is fast, 1 is patient.")
    barge_in: bool = Field(
        True, description="Whether speech interrupts the reply; if not, the microphone rests meanwhile."
    )
    hints: list[str] = Field(default_factory=list, description="A few things to say.")
    history: list[dict[str, Any]] = Field(
        default_factory=list, description="The kept turns of a resumed conversation: {turn, user, reply, interrupted}."
    )


class Ping(Message):
    """Asks for a `Pong`."""

    type: Literal["ping"] = "ping"
    id: Number


class State(Message):
    """The state machine moved."""

    type: Literal["state"] = "state"
    state: Literal["listening", "transcribing", "thinking", "speaking", "barge_in", "closed"]
    leaf: str = Field(description="The state's leaf, e.g. `transcribing_open`.")
    trigger: str
    turn: Number
    epoch: Number
    at_ms: Millis = Field(description="The server's clock since the session began.")
    marks: dict[str, float] = Field(
        default_factory=dict, description="What is known so far of the turn's marks, on the clock of `at_ms`."
    )


class Transcript(Message):
    """What the user said in a turn so far; it replaces what the same turn said before."""

    type: Literal["transcript"] = "transcript"
    turn: Number
    text: str
    final: bool


class ReplyText(Message):
    """One more phrase of a reply; phrases of an epoch join to its text."""

    type: Literal["reply_text"] = "reply_text"
    turn: Number
    epoch: Number
    text: str
    first_sample: Samples = Field(description="Where in the epoch's audio this phrase begins.")


class ReplyEnd(Message):
    """All audio of the epoch was sent; answer with `Ended` when it was heard."""

    type: Literal["reply_end"] = "reply_end"
    turn: Number
    epoch: Number
    samples: Samples = Field(description="The epoch's length.")


class Hold(Message):
    """Pause playback of this epoch now, keep what is buffered, and answer with `Held`."""

    type: Literal["hold"] = "hold"
    turn: Number
    epoch: Number


class Resume(Message):
    """Go on from the sample at which playback was held."""

    type: Literal["resume"] = "resume"
    turn: Number
    epoch: Number


class Flush(Message):
    """Drop everything of this epoch, fade within 10 ms, and answer with `Flushed`."""

    type: Literal["flush"] = "flush"
    turn: Number
    epoch: Number


class Heard(Message):
    """What the history keeps of a reply, sent when its turn is over."""

    type: Literal["heard"] = "heard"
    turn: Number
    epoch: Number
    text: str
    interrupted: bool


class TurnDone(Message):
    """A turn is over: its record, for the page's waterfall and for `voiceagent call`."""

    type: Literal["turn"] = "turn"
    turn: Number
    outcome: Literal["completed", "interrupted", "resumed", "reopened", "failed", "discarded", "shed"]
    origin: Literal["user", "text", "agent"]
    gap_ms: float | None = Field(description="The response gap; none where nothing was answered.")
    basis: Literal["heard", "sent"] | None = Field(description="Where the gap ends: heard at the speaker, or sent.")
    segments: dict[str, float] = Field(description="The gap's segments in order, in milliseconds; they sum to it.")
    marks: dict[str, float] = Field(description="Milliseconds from the turn's start.")
    path: list[str] = Field(description="The states the turn went through.")


class Notice(Message):
    """Something the user should know and the conversation survives, in words."""

    type: Literal["notice"] = "notice"
    code: str
    message: str


class Error(Message):
    """Something the client did, or the server refuses; a fatal one is followed by a close."""

    type: Literal["error"] = "error"
    code: str
    message: str = Field(description="What happened, in a sentence for a person.")
    hint: str = Field("", description="What to do, in a sentence for a person.")
    fatal: bool = False


ServerMessage = Annotated[
    Welcome | Ping | State | Transcript | ReplyText | ReplyEnd | Hold | Resume | Flush | Heard | TurnDone | Notice | Error,
    Field(discriminator="type"),
]  # fmt: skip
_SERVER = TypeAdapter[Any](ServerMessage)


class Close:
    """The close codes of ``/ws``, each preceded by a fatal `Error` that says why in words."""

    NORMAL: ClassVar[int] = 1000
    POLICY: ClassVar[int] = 1008
    TOO_BIG: ClassVar[int] = 1009
    INTERNAL: ClassVar[int] = 1011
    BUSY: ClassVar[int] = 1013
    BAD_MESSAGE: ClassVar[int] = 4400
    UNAUTHORIZED: ClassVar[int] = 4401
    VERSION: ClassVar[int] = 4406
    TIMEOUT: ClassVar[int] = 4408
    REPLACED: ClassVar[int] = 4409


def decode_client(data: str | bytes) -> Any:
    """Read what a browser sent: a message from text, a `MicFrame` from bytes. Raises `ProtocolError`."""
    return MicFrame.unpack(data) if isinstance(data, bytes) else parse_client(data)


def encode(message: "Message | ReplyFrame") -> str | bytes:
    """Return what the server has to say as it goes over the wire."""
    return message.pack() if isinstance(message, ReplyFrame) else message.model_dump_json()


def parse_client(text: str) -> Any:
    """Read one JSON message of the browser. Raises `ProtocolError` with code ``bad_json`` or ``bad_message``."""
    return _parse(_CLIENT, text)


def parse_server(text: str) -> Any:
    """Read one JSON message of the server. Raises `ProtocolError` with code ``bad_json`` or ``bad_message``."""
    return _parse(_SERVER, text)


def _parse(adapter: TypeAdapter[Any], text: str) -> Any:
    try:
        return adapter.validate_json(text)
    except (ValidationError, RecursionError) as error:
        raise _explained(error) from None


def _explained(error: ValidationError | RecursionError) -> ProtocolError:
    if isinstance(error, RecursionError):
        return ProtocolError("bad_json", "The message is nested too deeply.")
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return ProtocolError("bad_json", "The message is not JSON.")
    if first["type"] in {"union_tag_invalid", "union_tag_not_found"}:
        return ProtocolError("unknown_type", "The message has no type that this protocol knows.")
    where = ".".join(str(part) for part in first["loc"]) or "message"
    return ProtocolError("bad_message", f"{where}: {first['msg']}.")
