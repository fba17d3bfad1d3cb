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
    level: str = Field(default="info", description="Always `info`: a record is no warning.")
    session: str = Field(description="The session's name; a resumed one keeps it.")
    turn: Count = Field(description="The turn's number within the session; 0 where there is none yet.")
    epoch: Count = Field(description="The attempt at a reply; 0 where there is none.")


class EndedTask(_Part):
    """A task that was cancelled and has ended since the record before."""

    task: str = Field(description="Its name and epoch, such as `reply 3`.")
    took_ms: Ms = Field(description="From the cancellation to its end.")


class TransitionLine(Line):
    """One step of the machine, moves and stays alike."""

    event: Literal["transition"] = Field(default="transition", description="What kind of line it is.")
    schema_: Literal["voice.transition/1"] = Field(alias="schema", description="By which schema it is read.")
    seq: Annotated[int, Field(ge=1)] = Field(description="Gapless within a session, from 1.")
    at_us: Count = Field(description="When, on the server's monotonic clock.")
    source: str = Field(alias="from", description="The leaf that was left.")
    trigger: str = Field(description="What moved the machine; `voiceagent replay` puts these to it again.")
    target: str = Field(alias="to", description="The leaf that was entered; the same one for a stay.")
    dwell_us: Count = Field(description="How long the session had been in the leaf it was in.")
    deadline_us: int | None = Field(description="Of the leaf entered, on the same clock.")
    reason: str = Field(description="Why, where the trigger alone does not say; never what was said.")
    started: tuple[str, ...] = Field(default=(), description="Tasks that the step started, such as `reply 3`.")
    cancelled: tuple[str, ...] = Field(default=(), description="Tasks that it cancelled.")
    ended: tuple[EndedTask, ...] = Field(
        default=(), description="Cancelled ones that ended since the record before; of the last step's it is not told."
    )
    inbox: Count = Field(default=0, description="Facts that waited for the machine.")
    outbox: Count = Field(default=0, description="Messages, and frames of reply audio, that waited to be sent.")
    loop_lag_us: Count = Field(default=0, description="How late the fact was taken, at most, since the record before.")


class SpeculationPart(_Part):
    """What the replies that were prepared early were worth."""

    tries: Count = Field(description="Replies that were prepared before the turn had ended.")
    hit: bool = Field(description="Whether the last of them became the reply.")
    saved_ms: Ms = Field(description="How much later the first audio had come without.")
    wasted_tokens: Count = Field(description="That came of the replies that were dropped.")
    wasted_characters: Count = Field(description="Of which speech was asked for in vain.")


class BargeInPart(_Part):
    """One sound over a reply. Lengths are from its onset, but `resume_ms`: from the hold to the resume."""

    over: str = Field(description="The state that it came over.")
    onset_ms: Ms | None = Field(default=None, description="When it began, from the turn's start.")
    hold_ms: Ms | None = Field(description="To the hold that was sent; none where nothing was heard yet.")
    verdict: Literal["open", "confirmed", "rejected", "outlived"] = Field(
        description="`open`: the session ended first; `outlived`: the reply did."
    )
    reason: str = Field(description="What decided: `words`, `stop`, `voiced`, `backchannel`, `noise`, `echo`, ….")
    verdict_ms: Ms | None = Field(description="To the verdict.")
    resume_ms: Ms | None = Field(description="From the hold to the resume that was sent.")
    yield_ms: Ms | None = Field(description="To the browser's word that all is silent.")


class FaultPart(_Part):
    """A failure of a back-end."""

    stage: str = Field(description="`stt`, `llm`, `tts` or `realtime`.")
    code: str = Field(description="The service's, or ours; docs/models.md says what each means.")
    recovered: bool = Field(description="Whether the turn got what it needed all the same.")


class ConnectionPart(_Part):
    """How a stage's first request in a turn came by its connection."""

    acquire_ms: Ms = Field(description="How long that took.")
    reused: bool = Field(description="Whether it was open already.")


class SttPart(_Part):
    """Speech to text in a turn; in realtime mode the voice model's ear."""

    host: str = Field(description="Where it is served.")
    model: str = Field(description="As the settings name it.")
    audio_ms: Ms = Field(description="Audio that was sent, pre-roll included.")
    items: Count = Field(description="Committed pieces; those of a reopened turn went to its parent.")
    retries: Count = Field(description="How often a piece of which all was sent had to be sent again.")


class LlmPart(_Part):
    """The language model, or the voice model where it answers, in a turn: all attempts at its reply together."""

    host: str = Field(description="Where it is served.")
    model: str = Field(description="As the settings name it.")
    tokens_in: Count = Field(description="As the service counted; of a request that was cancelled it tells nothing.")
    tokens_out: Count = Field(description="The same; what was dropped unread is in `speculation`.")
    tokens_cached: Count = Field(description="Of those that went in.")
    finish: Literal["stop", "length", "content_filter", "tool_calls", "error", ""] = Field(
        description="How the last answer ended; empty where it was cancelled."
    )
    attempts: Count = Field(description="Requests, retries and second requests among them.")


class TtsPart(_Part):
    """Text to speech in a turn, of its last reply; in realtime mode the voice model's mouth."""

    host: str = Field(description="Where it is served.")
    model: str = Field(description="As the settings name it.")
    characters: Count = Field(description="That speech was asked for, heard or not.")
    audio_ms: Ms = Field(description="That was made of it, heard or not.")
    real_time_factor: Annotated[float, Field(ge=0)] | None = Field(
        description="Time that its audio was waited for, over its length; none without audio."
    )
    underruns: Count = Field(description="How often playback waited for more.")


class HeardPart(_Part):
    """What was heard of the reply, of all of it."""

    characters: Count = Field(description="Heard, up to the last whole word.")
    words: Count = Field(description="The same in words; in a script without spaces each character is one.")
    of_characters: Count = Field(description="Of so many that were said or to be said.")
    of_words: Count = Field(description="The same in words.")


class NetworkPart(_Part):
    """The way to the browser, by the pings."""

    rtt_ms: Ms = Field(description="Shortest round trip of late.")
    jitter_ms: Ms = Field(description="Longest less shortest round trip of late.")
    offset_ms: float = Field(description="Server's clock less the browser's: the one number that may be below zero.")


class TurnLine(Line):
    """One turn, told once it is over, whatever became of it."""

    event: Literal["turn"] = Field(default="turn", description="What kind of line it is.")
    schema_: Literal["voice.turn/1"] = Field(alias="schema", description="By which schema it is read.")
    version: str = Field(default="", description="Of the server.")
    trace: str = Field(default="", description="32 hexadecimal digits: the turn's trace.")
    mode: Literal["cascade", "realtime"] = Field(default="cascade", description="Three streams, or one voice model.")
    parent: Count | None = Field(description="The turn over whose reply it began.")
    origin: Literal["user", "text", "agent"] = Field(description="Who began it: a voice, a typed line, the agent.")
    outcome: Literal["completed", "interrupted", "resumed", "reopened", "failed", "discarded", "shed"] = Field(
        description="What became of it, as listed below."
    )
    started_us: Count = Field(description="When, on the server's monotonic clock.")
    duration_ms: Ms = Field(description="To its end.")
    path: tuple[str, ...] = Field(description="The leaves that it went through.")
    marks_ms: dict[str, Ms] = Field(description="Moments, from the turn's start.")
    gap_ms: Ms | None = Field(description="From the user's last voiced sample to the reply's first audible one.")
    basis: Literal["heard", "sent"] | None = Field(
        description="Whether the browser told when it was heard; else the gap ends where its first frame was sent."
    )
    segments_ms: dict[str, Ms] = Field(description="They tile the gap, in causal order.")
    due: dict[str, str] = Field(default={}, description="The component that each segment is due to.")
    hidden_ms: Ms | None = Field(description="Work that was done while something else was waited for.")
    residual_ms: Ms | None = Field(description="What the segments exceed the gap by: an error of a clock, else 0.")
    pauses_ms: tuple[Count, ...] = Field(description="Silences after which the user went on.")
    pause_waits_ms: tuple[Count | None, ...] = Field(
        default=(),
        description="Of each of these: the silence that would have ended the turn then; one that is no longer than its "
        "pause did end it. None while a key was held down.",
    )
    wait_ms: Count | None = Field(
        description="The silence that was to end the turn, as it stood last; none where a key or the turn's length did."
    )
    wait_reason: str = Field(description="What that listened to.")
    speculation: SpeculationPart = Field(description="Replies that were prepared early.")
    fillers: Count = Field(description="Sounds that bridged the wait for the reply.")
    voiced_ms: Count = Field(description="Voice in the user's turn.")
    barge_ins: tuple[BargeInPart, ...] = Field(description="Sounds over its reply.")
    reopened: Count = Field(description="How often the user went on before anything was heard.")
    heard_ms: Ms = Field(description="Of the reply.")
    reply_ms: Ms = Field(description="All of it; 0 where it was never made to its end.")
    heard: HeardPart | None = Field(default=None, description="The same in words; none without a reply.")
    stt: SttPart | None = Field(default=None, description="None where nobody spoke.")
    llm: LlmPart | None = Field(default=None, description="None where no model was asked.")
    tts: TtsPart | None = Field(default=None, description="None where nothing was to be said.")
    network: NetworkPart | None = Field(default=None, description="None before the browser's first answer.")
    loop_lag_ms: Ms = Field(default=0, description="The latest that a fact was taken in the turn.")
    cost_usd: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Estimated from `prices` in the settings; none where a model of the turn has none."
    )
    usage: dict[str, Count] = Field(description="What the back-ends told of the reply, by their names.")
    rtt_ms: Ms = Field(description="The round trip that split the way to the speaker.")
    faults: tuple[FaultPart, ...] = Field(description="Failures of back-ends.")
    connections: dict[str, ConnectionPart] = Field(default={}, description="By stage.")
    content: dict[str, Any] | None = Field(
        default=None, description="Texts, only with `log_content`: `user`, `reply`, `heard`."
    )


COMPONENTS = {
    "uplink": "network", "endpoint_wait": "endpointing", "stt_tail": "stt", "queue": "agent", "llm_ttft": "llm",
    "clause_wait": "llm", "tts_ttfb": "tts", "model_ttfa": "realtime", "gate_wait": "agent", "send": "agent",
    "network": "network", "playback": "browser", "leading_silence": "tts",
}  # fmt: skip
"""What each segment of the gap is due to; a leading silence is the voice model's in realtime mode."""

MARKS = {
    "speech_start": "the turn began: the first voiced sample, a key, a typed line, or the agent's own wish to speak",
    "pause_noticed": "a pause was long enough to commit what was said",
    "speech_end": "the last voiced sample of the user, on the browser's clock as mapped; of a typed line its arrival",
    "speech_end_arrived": "that sample reached the server",
    "vad_stop": "the ears told that the utterance was over: where others begin to count",
    "commit": "the last piece of audio was complete",
    "stt_first_partial": "the first words of it", "stt_final": "all words, while they were waited for",
    "words_final": "all words, when nobody waited for them", "speculation_start": "a reply was begun early",
    "endpoint": "the turn was taken to be over", "llm_request": "the model was asked",
    "llm_first_token": "its first words", "first_clause": "enough of them to be spoken", "llm_done": "its last ones",
    "tts_request": "speech was asked for", "tts_first_byte": "its first audio",
    "tts_first_audible": "the first of it that can be heard", "tts_done": "the last of the last phrase",
    "model_first_audio": "the first audio of a voice model", "model_done": "all of its answer",
    "gate_open": "the reply was let go", "first_frame_sent": "its first frame was handed to the socket",
    "playback_start": "its first sample reached the speaker, by the browser's report",
    "barge_in_onset": "the last sound over it began", "hold_sent": "and held it", "resume_sent": "it was let go on",
    "flush_sent": "it was cut off", "flush_ack": "the browser told that all is silent",
    "last_audible": "the last sample that was heard, by the browser's last report less half a round trip",
    "playback_end": "all of it was heard",
}  # fmt: skip
"""The moments of a turn. Which of them there are depends on what happened."""

OUTCOMES = {
    "completed": "the reply was heard to its end",
    "resumed": "the same, after a sound over it that was nothing",
    "interrupted": "the user or the end of the session cut it off",
    "reopened": "it was the rest of its parent, whose reply nobody had heard: what was said is told there",
    "failed": "a back-end failed, and an apology or nothing was heard",
    "discarded": "nobody wanted the floor: noise, echo, a listener's word, or no words at all",
    "shed": "the server did not keep up and gave the session up",
}
"""What becomes of a turn."""
