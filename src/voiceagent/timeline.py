"""Where the time of a turn went: marks, the segments of the response gap, and the two records that are logged.

Every time here is an integer of microseconds on the server's one monotonic clock. Nothing here reads that clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["completed", "interrupted", "resumed", "reopened", "failed", "discarded", "shed"]
Origin = Literal["user", "text", "agent"]
Basis = Literal["heard", "sent"]
Mode = Literal["cascade", "realtime"]

GAP_START = "speech_end"
"""The last voiced sample of the user, mapped from the browser's clock; for a typed turn, its arrival."""

CHAIN: tuple[tuple[str, str], ...] = (
    ("uplink", "speech_end_arrived"),
    ("endpoint_wait", "endpoint"),
    ("stt_tail", "stt_final"),
    ("queue", "llm_request"),
    ("llm_ttft", "llm_first_token"),
    ("clause_wait", "tts_request"),
    ("tts_ttfb", "tts_first_byte"),
    ("model_ttfa", "model_first_audio"),
    ("gate_wait", "gate_open"),
    ("send", "first_frame_sent"),
)
"""The segments of the gap in causal order, each with the mark that ends it; `_AFTER` follows."""

WORK = ("stt_tail", "llm_ttft", "clause_wait", "tts_ttfb", "model_ttfa")
"""The segments in which somebody works; in the others one waits."""

CLOCK_ERROR_US = 1_000

SEGMENTS = (*(name for name, _ in CHAIN), "network", "playback", "leading_silence")


@dataclass(frozen=True, slots=True)
class Gap:
    """One response gap, tiled: `segments_us` sum to `gap_us` but for `residual_us`.

    `hidden_us` is work that was done while something else was waited for, the end of the turn above all.
    `residual_us` is never below zero, and above it only if a moment is told to lie behind the end of the gap.
    """

    gap_us: int
    basis: Basis
    segments_us: dict[str, int]
    hidden_us: int
    residual_us: int

    @property
    def clock_error(self) -> bool:
        """Whether the residual is more than rounding: a clock was mapped wrongly, or a moment told wrongly."""
        return self.residual_us > CLOCK_ERROR_US


def response_gap(marks: Mapping[str, int], *, rtt_us: int = 0, leading_silence_us: int = 0) -> Gap | None:
    """Tile the interval from the user's last voiced sample to the first audible sample of the reply.

    Where the browser's report of the first sample (`playback_start`) is missing, the gap ends at `first_frame_sent` and
    its basis is ``sent``. `rtt_us` splits the way to the speaker into network and playback buffer. None if the turn has
    no beginning or no reply.
    """
    start = marks.get(GAP_START)
    sent = marks.get("first_frame_sent")
    if start is None or sent is None:
        return None
    cursor, before_us, hidden_us = start, start, 0
    segments: dict[str, int] = {}
    for name, mark in CHAIN:
        at_us = marks.get(mark)
        if at_us is None:
            continue
        segments[name] = max(0, at_us - cursor)
        if name in WORK:
            began_us = marks.get("commit", before_us) if name == "stt_tail" else before_us
            hidden_us += max(0, at_us - began_us - segments[name])
        before_us = at_us
        cursor = max(cursor, at_us)
    heard = marks.get("playback_start")
    if heard is not None:
        way_us = max(0, heard - cursor)
        segments["network"] = min(way_us, rtt_us // 2)
        segments["playback"] = way_us - segments["network"]
    if leading_silence_us:
        segments["leading_silence"] = leading_silence_us
    # A reply is never heard before its question ended; what says so is a clock, and the residual says by how much.
    gap_us = max(0, (sent if heard is None else heard) - start) + leading_silence_us
    residual_us = sum(segments.values()) - gap_us
    return Gap(gap_us, "sent" if heard is None else "heard", segments, hidden_us, residual_us)


@dataclass(frozen=True, slots=True)
class EndedTask:
    """A task that was cancelled, and how long it took to end."""

    task: str
    took_us: int


@dataclass(frozen=True, slots=True)
class TransitionRecord:
    """One step of the machine, moves and stays alike; `seq` has no gap within a session.

    What has a default is the driver's to say: the machine knows no tasks and no queues.
    """

    seq: int
    at_us: int
    turn: int
    epoch: int
    source: str
    trigger: str
    target: str
    dwell_us: int  # how long the session has been in `source`
    deadline_us: int | None  # of the leaf entered, on the same clock
    reason: str
    started: tuple[str, ...] = ()  # tasks
    cancelled: tuple[str, ...] = ()
    ended: tuple[EndedTask, ...] = ()  # since the record before
    inbox: int = 0  # facts that waited
    outbox: int = 0  # messages and frames that waited
    loop_lag_us: int = 0  # how late a fact was taken, at most, since the record before


@dataclass(frozen=True, slots=True)
class StageFault:
    """One failure of a back-end in a turn."""

    stage: str
    code: str
    recovered: bool


@dataclass(frozen=True, slots=True)
class Connection:
    """How a stage's first request in a turn came by its connection."""

    acquire_us: int
    reused: bool


@dataclass(slots=True)
class Speculation:
    """What the replies that were prepared early in one turn were worth."""

    tries: int = 0
    hit: bool = False
    saved_us: int = 0  # how much later the first audio had come without
    wasted_tokens: int = 0
    wasted_characters: int = 0


@dataclass(slots=True)
class BargeIn:
    """One sound over a reply: when it began, and what became of it."""

    onset_us: int
    over: str  # the state it came over
    hold_us: int | None = None  # onset to the hold that was sent
    verdict: Literal["open", "confirmed", "rejected", "outlived"] = (
        "open"  # outlived: the reply ended before the verdict
    )
    reason: str = ""
    verdict_us: int | None = None  # onset to verdict
    resume_us: int | None = None  # hold to the resume that was sent
    yield_us: int | None = None  # onset to the browser's word that all is silent


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of a reply, of all of it."""

    characters: int
    words: int
    of_characters: int
    of_words: int


@dataclass(frozen=True, slots=True)
class SttWork:
    """Speech to text in a turn; `items` are committed pieces."""

    host: str
    model: str
    audio_us: int
    items: int
    retries: int


@dataclass(frozen=True, slots=True)
class LlmWork:
    """The language or voice model in a turn: all attempts at its reply together."""

    host: str
    model: str
    tokens_in: int
    tokens_out: int
    tokens_cached: int
    finish: str
    attempts: int


@dataclass(frozen=True, slots=True)
class TtsWork:
    """The speech of the turn's last reply."""

    host: str
    model: str
    characters: int
    audio_us: int
    real_time_factor: float | None
    underruns: int


@dataclass(frozen=True, slots=True)
class Network:
    """The way to the browser, by the last pings."""

    rtt_us: int
    jitter_us: int
    offset_us: int


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One turn, told once it is over. Texts are under `content` alone, so that a sink can drop them.

    What stands behind `content` is the driver's to say: the conversation knows no hosts, models and prices.
    """

    turn: int
    parent: int | None
    origin: Origin
    outcome: Outcome
    started_us: int
    ended_us: int
    epoch: int
    path: tuple[str, ...]
    marks: dict[str, int]
    gap: Gap | None
    pauses_ms: tuple[int, ...]
    wait_ms: int | None  # the silence that was to end the turn, as it stood last
    wait_reason: str  # what it listened to
    speculation: Speculation
    fillers: int
    voiced_ms: int
    barge_ins: tuple[BargeIn, ...]
    heard_samples: int
    reply_samples: int
    usage: dict[str, int]
    rtt_us: int
    reopened: int
    faults: tuple[StageFault, ...]
    connections: dict[str, Connection] = field(default_factory=dict)  # by stage
    items: tuple[int, ...] = ()  # committed pieces of the user's audio
    pause_waits_ms: tuple[int | None, ...] = ()  # of each pause: the silence that would have ended the turn then
    stt_retries: int = 0
    heard: Heard | None = None
    content: dict[str, str] = field(default_factory=dict)
    version: str = ""
    trace: str = ""
    mode: Mode = "cascade"
    stt: SttWork | None = None
    llm: LlmWork | None = None
    tts: TtsWork | None = None
    network: Network | None = None
    loop_lag_us: int = 0  # the latest that a fact was taken
    cost_usd: float | None = None
