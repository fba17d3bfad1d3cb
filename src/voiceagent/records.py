"""The lines of the log as others read them: ``voice.turn/1`` and ``voice.transition/1``, whose JSON Schema is published.

The server writes them from plain fields (`logs`), as a record must not cost more than microseconds; a test compares the
two. Readers (`latency`, `replay`, exports) take these models. Within one version fields are only added, so a reader
ignores what it does not know. Times end in their unit: ``_us`` on the server's monotonic clock, ``_ms`` from the turn's
start or as a length.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TURN_SCHEMA = "voice.turn/1"
TRANSITION_SCHEMA = "voice.transition/1"

Ms = Annotated[float, Field(ge=0)]
"""A length in milliseconds: there is no negative one."""
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    """A part of a line: fixed once it is read; what a later version added is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, allow_inf_nan=False)


class Line(_Part):
    """What every line of a session has."""

    timestamp: str = Field(description="Wall time, ISO 8601 in UTC; for people, nothing is reckoned from it.")
    level: str = "info"
    session: str
    turn: Count = Field(description="The turn's number within the session; 0 where there is none yet.")
    epoch: Count = Field(description="The attempt at a reply; 0 where there is none.")


class EndedTask(_Part):
    """A task that was cancelled and has ended since the record before."""

    task: str = Field(description="Its name and epoch, such as `reply 3`.")
    took_ms: Ms = Field(description="From the cancellation to its end.")


class TransitionLine(Line):
    """One step of the machine, moves and stays alike."""

    event: Literal["transition"] = "transition"
    schema_: Literal["voice.transition/1"] = Field(alias="schema")
    seq: Annotated[int, Field(ge=1)] = Field(description="Gapless within a session, from 1.")
    at_us: int
    source: str = Field(alias="from", description="The leaf that was left.")
    trigger: str
    target: str = Field(alias="to", description="The leaf that was entered; the same one for a stay.")
    dwell_us: Count = Field(description="How long the session had been in the leaf it was in.")
    deadline_us: int | None = Field(description="Of the leaf entered, on the same clock.")
    reason: str
    started: tuple[str, ...] = Field(default=(), description="Tasks that the step started, such as `reply 3`.")
    cancelled: tuple[str, ...] = Field(default=(), description="Tasks that it cancelled.")
    ended: tuple[EndedTask, ...] = Field(default=(), description="Cancelled ones that ended since the record before.")
    inbox: Count = Field(default=0, description="Facts that waited for the machine.")
    outbox: Count = Field(default=0, description="Messages, and frames of reply audio, that waited to be sent.")
    loop_lag_us: Count = Field(default=0, description="How late the fact was taken, at most, since the record before.")


class SpeculationPart(_Part):
    """What the replies that were prepared early were worth."""

    tries: Count
    hit: bool
    saved_ms: Ms = Field(description="How much later the first audio had come without.")
    wasted_tokens: Count
    wasted_characters: Count


class BargeInPart(_Part):
    """One sound over a reply. Lengths are from its onset, but `resume_ms`: from the hold to the resume."""

    over: str = Field(description="The state that it came over.")
    hold_ms: Ms | None
    verdict: Literal["open", "confirmed", "rejected", "outlived"]
    reason: str
    verdict_ms: Ms | None
    resume_ms: Ms | None
    yield_ms: Ms | None = Field(description="To the browser's word that all is silent.")


class FaultPart(_Part):
    """A failure of a back-end."""

    stage: str
    code: str
    recovered: bool


class ConnectionPart(_Part):
    """How a stage's first request in a turn came by its connection."""

    acquire_ms: Ms
    reused: bool


class SttPart(_Part):
    """Speech to text in a turn; in realtime mode the voice model's ear."""

    host: str
    model: str
    audio_ms: Ms = Field(description="Audio that was sent, pre-roll included.")
    items: Count = Field(description="Committed pieces; those of a reopened turn went to its parent.")
    retries: Count = Field(description="How often a piece had to be sent again.")


class LlmPart(_Part):
    """The language model, or the voice model where it answers, in a turn: all attempts at its reply together."""

    host: str
    model: str
    tokens_in: Count = Field(description="As the service counted; of a request that was cancelled it tells nothing.")
    tokens_out: Count = Field(description="The same; what was dropped unread is in `speculation`.")
    tokens_cached: Count = Field(description="Of those that went in.")
    finish: Literal["stop", "length", "content_filter", "tool_calls", "error", ""] = Field(
        description="How the last answer ended; empty where it was cancelled."
    )
    attempts: Count = Field(description="Requests, retries and second requests among them.")


class TtsPart(_Part):
    """Text to speech in a turn, of its last reply; in realtime mode the voice model's mouth."""

    host: str
    model: str
    characters: Count = Field(description="That speech was asked for, heard or not.")
    audio_ms: Ms
    real_time_factor: Annotated[float, Field(ge=0)] | None = Field(
        description="Time that its audio was waited for, over its length; none without audio."
    )
    underruns: Count = Field(description="How often playback waited for more.")


class HeardPart(_Part):
    """What was heard of the reply, of all of it."""

    characters: Count
    words: Count
    of_characters: Count
    of_words: Count


class NetworkPart(_Part):
    """The way to the browser, by the pings."""

    rtt_ms: Ms
    jitter_ms: Ms = Field(description="Longest less shortest round trip of late.")
    offset_ms: float = Field(description="Server's clock less the browser's.")


class TurnLine(Line):
    """One turn, told once it is over, whatever became of it."""

    event: Literal["turn"] = "turn"
    schema_: Literal["voice.turn/1"] = Field(alias="schema")
    version: str = Field(default="", description="Of the server.")
    trace: str = Field(default="", description="32 hexadecimal digits: the turn's trace.")
    mode: Literal["cascade", "realtime"] = "cascade"
    parent: int | None
    origin: Literal["user", "text", "agent"]
    outcome: Literal["completed", "interrupted", "resumed", "reopened", "failed", "discarded", "shed"]
    started_us: int
    duration_ms: Ms
    path: tuple[str, ...] = Field(description="The leaves that it went through.")
    marks_ms: dict[str, Ms] = Field(description="Moments, from the turn's start.")
    gap_ms: Ms | None = Field(description="From the user's last voiced sample to the reply's first audible one.")
    basis: Literal["heard", "sent"] | None
    segments_ms: dict[str, Ms] = Field(description="They tile the gap, in causal order.")
    due: dict[str, str] = Field(default={}, description="The component that each segment is due to.")
    hidden_ms: Ms | None = Field(description="Work that was done while something else was waited for.")
    residual_ms: Ms | None = Field(description="What the segments exceed the gap by: an error of a clock, else 0.")
    pauses_ms: tuple[Count, ...] = Field(description="Silences after which the user went on.")
    wait_ms: Count | None = Field(description="The silence that was to end the turn, as it stood last.")
    wait_reason: str = Field(description="What that listened to.")
    speculation: SpeculationPart
    fillers: Count
    voiced_ms: Count
    barge_ins: tuple[BargeInPart, ...]
    reopened: Count
    heard_ms: Ms
    reply_ms: Ms
    heard: HeardPart | None = None
    stt: SttPart | None = None
    llm: LlmPart | None = None
    tts: TtsPart | None = None
    network: NetworkPart | None = None
    loop_lag_ms: Ms = Field(default=0, description="The latest that a fact was taken in the turn.")
    cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Estimated from `prices` in the settings; none where a model of the turn has none."
    )
    usage: dict[str, Count] = Field(description="What the back-ends told of the reply, by their names.")
    rtt_ms: Ms = Field(description="The round trip that split the way to the speaker.")
    faults: tuple[FaultPart, ...]
    connections: dict[str, ConnectionPart] = {}
    content: dict[str, Any] | None = Field(
        default=None, description="Texts, only with `log_content`: `user`, `reply`, `heard`."
    )


COMPONENTS = {
    "uplink": "network", "endpoint_wait": "endpointing", "stt_tail": "stt", "queue": "agent", "llm_ttft": "llm",
    "clause_wait": "llm", "tts_ttfb": "tts", "model_ttfa": "realtime", "gate_wait": "agent", "send": "agent",
    "network": "network", "playback": "browser", "leading_silence": "tts",
}  # fmt: skip
"""What each segment of the gap is due to; a leading silence is the voice model's in realtime mode."""
