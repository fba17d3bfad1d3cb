"""The rules of a fault plan: what each one matches, and what happens then."""

from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Stage = Literal["stt", "llm", "tts", "realtime"]
Direction = Literal["down", "up"]
COMPLETED = "conversation.item.input_audio_transcription.completed"
MAX_WAIT_MS = 3_600_000


def _several(value: Any) -> Any:
    """One number stands for a list of one."""
    return (value,) if isinstance(value, int) else value


Numbers = Annotated[tuple[Annotated[int, Field(ge=1)], ...], BeforeValidator(_several)]
Milliseconds = Annotated[float, Field(ge=0, le=MAX_WAIT_MS)]


class Rule(BaseModel):
    """What every rule has: which requests and connections it is for. Without any of it, for all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: str
    stage: Stage | None = Field(None, description="Only this stage's requests and connections.")
    path: str | None = Field(None, description="Only paths that match, such as `/v1/audio/*`.")
    nth: Numbers | None = Field(None, description="Only the first, third, …: a number or a list, counted by this rule.")
    probability: float = Field(1, ge=0, le=1, description="So often; the draw follows from seed and number.")
    seed: int = Field(1, description="For the draw and the jitter: the same seed gives the same run.")
    note: str = Field("", max_length=200, description="Anything; a header with another note is counted anew.")

    def matches(self, stage: str | None, path: str) -> bool:
        """Whether a request of this stage and path is this rule's to count."""
        return (self.stage is None or self.stage == stage) and (self.path is None or fnmatchcase(path, self.path))


class EventRule(Rule):
    """Changes single events: WebSocket messages, server-sent events, or pieces of a body."""

    event: str | None = Field(None, description="Only events whose type matches, such as `*.delta`.")
    event_nth: Numbers | None = Field(None, description="Only the first, third, … of those events.")
    direction: Direction = Field("down", description="`down`: to the client; `up`: from it (WebSocket only).")


class PlaceRule(Rule):
    """Happens once, at one place of a connection or an answer."""

    after_events: int | None = Field(None, ge=0, description="After so many events.")
    after_bytes: int | None = Field(None, ge=0, description="After so many bytes of the body or of messages.")
    after_ms: Milliseconds | None = Field(None, description="So long after the request or the handshake.")
    after_idle_ms: Milliseconds | None = Field(None, description="When nobody said anything for so long (WebSocket).")
    event: str | None = Field(None, description="`after_events` counts only events whose type matches.")
    direction: Direction = Field("down", description="Whose events and bytes are counted; `up` is WebSocket only.")

    @model_validator(mode="after")
    def _one_place(self) -> "PlaceRule":
        places = (self.after_events, self.after_bytes, self.after_ms, self.after_idle_ms)
        if sum(place is not None for place in places) > 1:
            raise ValueError("only one of after_events, after_bytes, after_ms, after_idle_ms may be set")
        if self.event is not None and self.after_events is None:
            raise ValueError("event needs after_events, which counts such events")
        return self

    @property
    def at_once(self) -> bool:
        """Whether no place is named."""
        places = (self.after_events, self.after_bytes, self.after_ms, self.after_idle_ms)
        return all(place is None for place in places)


# ------------------------------------------------------------------------------------------ time
class Delay(EventRule):
    """The answer (its headers, or the handshake) comes later; with `each` or `event`, so does each event, in order."""

    fault: Literal["delay"]
    delay_ms: Milliseconds = Field(0, description="At least so long.")
    jitter_ms: Milliseconds = Field(0, description="And up to so much more, drawn with `seed`.")
    each: bool = Field(False, description="Every event comes so much later, as over a long line.")

    @property
    def of_events(self) -> bool:
        """Whether events are late, not the answer's beginning."""
        return self.each or self.event is not None or self.event_nth is not None or self.direction == "up"


class Stall(PlaceRule):
    """Nothing more comes, and the connection stays. Without a place: no answer at all, nor a handshake."""

    fault: Literal["stall"]
    for_ms: Milliseconds | None = Field(None, description="Then all that was held comes at once; without it, never.")


class Slow(Rule):
    """The answer, or each message, comes at so many bytes a second."""

    fault: Literal["slow"]
    bytes_per_s: int = Field(ge=1, description="The line's rate.")


# ------------------------------------------------------------------------------------------ ends
class Drop(PlaceRule):
    """The TCP connection closes without a goodbye. Without a place: before any answer."""

    fault: Literal["drop"]
    reset: bool = Field(False, description="By a reset (RST) instead of an end (FIN); what is under way is lost.")


class Close(PlaceRule):
    """The WebSocket is closed properly. Without a place: right after the handshake."""

    fault: Literal["close"]
    code: int = Field(1011, ge=1000, le=4999, description="The close code.")
    reason: str = Field("", max_length=123, description="The close reason.")

    @model_validator(mode="after")
    def _may_be_sent(self) -> "Close":
        if self.code in {1004, 1005, 1006, 1015} or 1016 <= self.code < 3000:
            raise ValueError(f"{self.code} is no code that may be sent; for 1006 use the fault 'drop'")
        if len(self.reason.encode()) > 123:
            raise ValueError("a reason has at most 123 bytes")
        return self


class SessionExpired(PlaceRule):
    """An error event `session_expired`, then a close: the service's cap of 60 minutes, earlier."""

    fault: Literal["session_expired"]
    code: int = Field(1001, ge=1000, le=4999, description="The close code.")
    message: str = Field("Your session hit the maximum duration of 60 minutes.", description="The sentence.")


class Truncate(PlaceRule):
    """The body ends early and properly, as if that were all (HTTP). Without a place: an empty body."""

    fault: Literal["truncate"]


# ------------------------------------------------------------------------------------------ refusals
class Refuse(Rule):
    """The request or handshake is answered with an error in OpenAI's shape."""

    fault: Literal["refuse"]
    status: int = Field(500, ge=400, le=599, description="The HTTP status.")
    code: str | None = Field(None, description="OpenAI's code; the status's usual one if not given.")
    message: str | None = Field(None, description="The sentence; the status's usual one if not given.")
    retry_after_s: float | None = Field(None, ge=0, description="Header `Retry-After`.")
    retry_after_ms: Milliseconds | None = Field(None, description="Header `retry-after-ms`.")
    should_retry: bool | None = Field(None, description="Header `x-should-retry`.")


class Html(Rule):
    """A page of HTML in place of the answer or handshake: a proxy, a captive portal, a wrong base URL."""

    fault: Literal["html"]
    status: int = Field(200, ge=200, le=599, description="The HTTP status.")
    body: str = Field("<!DOCTYPE html><html><body>Please log in.</body></html>", description="The page.")


class Reject(EventRule):
    """A client's event is swallowed and answered with an error event that echoes its `event_id` (WebSocket)."""

    fault: Literal["reject"]
    event: str | None = Field("input_audio_buffer.commit", description="The client's events that are refused.")
    direction: Literal["up"] = Field("up", description="Always `up`.")
    code: str = Field("input_audio_buffer_commit_empty", description="OpenAI's code.")
    message: str = Field("The event was refused.", description="The sentence.")


class Error(PlaceRule):
    """An error in mid-stream, and its end; audio has no place for one and breaks. A Realtime session stays open."""

    fault: Literal["error"]
    type: str = Field("server_error", description="OpenAI's type.")
    code: str | None = Field("server_error", description="OpenAI's code.")
    message: str = Field("The server had an error while processing your request.", description="The sentence.")


# ------------------------------------------------------------------------------------------ events
class Missing(EventRule):
    """Events are lost."""

    fault: Literal["missing"]


class Duplicate(EventRule):
    """Events come more than once."""

    fault: Literal["duplicate"]
    times: int = Field(1, ge=1, le=100, description="So many copies more.")


class Swap(EventRule):
    """Events come in the wrong order: one is held until after the next that matches `behind`."""

    fault: Literal["swap"]
    event: str | None = Field(COMPLETED, description="The events that are held.")
    behind: str | None = Field(None, description="Held until one of this type has passed; the same type if not given.")
    hold_ms: Milliseconds = Field(5_000, description="Held no longer than this.")


class Transcript(EventRule):
    """A transcript is replaced; deltas that came before stay as they were."""

    fault: Literal["transcript"]
    text: str = Field("", description="What it says instead; nothing if not given.")


class FailedTranscript(EventRule):
    """`….completed` becomes `….failed`."""

    fault: Literal["failed_transcript"]
    code: str = Field("audio_unintelligible", description="OpenAI's code.")
    message: str = Field("The audio could not be transcribed.", description="The sentence.")


# ------------------------------------------------------------------------------------------ bytes
class OddChunks(Rule):
    """The body comes in pieces of odd sizes, across samples, lines and characters (HTTP)."""

    fault: Literal["odd_chunks"]
    sizes: Numbers = Field((1, 3, 7, 997), min_length=1, description="The pieces' sizes in bytes, again and again.")


class WavHeader(Rule):
    """A WAV header stands before the PCM: in the body, or in the first audio event."""

    fault: Literal["wav_header"]


class Garbage(PlaceRule):
    """An event that is no JSON comes in between; a JSON body is garbage as a whole."""

    fault: Literal["garbage"]
    text: str = Field('{"type": "respon', description="What comes.")


AnyRule = Annotated[
    Delay | Stall | Slow | Drop | Close | SessionExpired | Truncate | Refuse | Html | Reject | Error | Missing
    | Duplicate | Swap | Transcript | FailedTranscript | OddChunks | WavHeader | Garbage,
    Field(discriminator="fault"),
]  # fmt: skip
RULES: tuple[type[Rule], ...] = (
    Delay, Stall, Slow, Drop, Close, SessionExpired, Truncate, Refuse, Html, Reject, Error, Missing, Duplicate, Swap,
    Transcript, FailedTranscript, OddChunks, WavHeader, Garbage,
)  # fmt: skip


def name_of(rule: type[Rule]) -> str:
    """Return what a rule's `fault` says."""
    return str(get_args(rule.model_fields["fault"].annotation)[0])
