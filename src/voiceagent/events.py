"""The facts that are told to the conversation; what it asks for in turn is in `effects`.

A fact says what happened, never what to do about it. Times are microseconds on the server's clock, samples are counted at
24 kHz, an `item` is one committed piece of the user's audio, an `epoch` is one attempt at a reply.
"""

from dataclasses import dataclass, field
from typing import Literal

from voiceagent.heard import WordMark

Stage = Literal["stt", "llm", "tts", "realtime"]


# ------------------------------------------------------------------------------- facts: the user
@dataclass(frozen=True, slots=True)
class SoundOn:
    """Something stands out of the room's noise and of the agent's own echo since `onset_us`; it may become speech."""

    onset_us: int


@dataclass(frozen=True, slots=True)
class SoundOff:
    """The sound of the last `SoundOn` ended at `sound_end_us` and was not speech."""

    sound_end_us: int


@dataclass(frozen=True, slots=True)
class VoiceOn:
    """Speech was noticed; it began at `onset_us`."""

    onset_us: int


@dataclass(frozen=True, slots=True)
class VoiceLevel:
    """The speech has lasted long enough to say how loud it is, compared with the caller's usual voice."""

    level_db: float | None


@dataclass(frozen=True, slots=True)
class VoicePaused:
    """The speech that ended at `speech_end_us`, of which `voiced_us` were voiced, is followed by a short silence."""

    speech_end_us: int
    voiced_us: int = 0
    level_db: float | None = None


@dataclass(frozen=True, slots=True)
class VoiceResumed:
    """Speech goes on, at `onset_us`, after a pause of `silence_us`."""

    silence_us: int
    onset_us: int


@dataclass(frozen=True, slots=True)
class VoiceEnded:
    """A silence long enough to end a turn; its last voiced sample was spoken at `speech_end_us`, came at `arrived_us`."""

    speech_end_us: int
    arrived_us: int
    voiced_us: int
    level_db: float | None = None


@dataclass(frozen=True, slots=True)
class EndOfTurn:
    """What an acoustic model makes of the pause that began at `speech_end_us`: how likely the turn is over."""

    speech_end_us: int
    probability: float


@dataclass(frozen=True, slots=True)
class Tuned:
    """The user turned the dial between fast (0) and patient (1)."""

    patience: float


@dataclass(frozen=True, slots=True)
class TextSubmitted:
    """The user typed."""

    text: str


@dataclass(frozen=True, slots=True)
class TalkKey:
    """The talk key went down or up, at `at_us` of what the microphone heard."""

    down: bool
    at_us: int


@dataclass(frozen=True, slots=True)
class Left:
    """The session is over: the browser is gone, hung up or was replaced, or a limit was reached."""

    reason: str
    code: int = 1000
    message: str = ""  # for the browser, if it can still hear
    hint: str = ""


@dataclass(frozen=True, slots=True)
class AgentSays:
    """The agent speaks first: a greeting or a notice."""

    text: str


@dataclass(frozen=True, slots=True)
class Tick:
    """The clock reached `Conversation.deadline_us`."""


# ----------------------------------------------------------------------------- facts: the stages
@dataclass(frozen=True, slots=True)
class PartialTranscript:
    """What the STT has of an item so far; it replaces what it had before."""

    item: int
    text: str


@dataclass(frozen=True, slots=True)
class FinalTranscript:
    """All words of a committed item; empty if there are none. Its audio was sent once and then `retries` times again."""

    item: int
    text: str
    retries: int = 0


@dataclass(frozen=True, slots=True)
class SttFailed:
    """The STT failed at an item (retries spent), or, with item 0, as a whole."""

    item: int
    code: str
    message: str
    retries: int = 0


@dataclass(frozen=True, slots=True)
class SttConnected:
    """The STT has opened a connection, its configuration is confirmed; both took so long."""

    acquire_us: int


@dataclass(frozen=True, slots=True)
class ReplyConnected:
    """A request of a reply has its connection: a new one, which took so long, or one that was `reused`."""

    epoch: int
    stage: Stage
    acquire_us: int
    reused: bool


@dataclass(frozen=True, slots=True)
class ReplyMark:
    """A moment in the making of a reply, by its name in METRICS."""

    epoch: int
    name: str
    at_us: int


@dataclass(frozen=True, slots=True)
class ReplyPhrase:
    """The audio of one more phrase begins at `first_sample` of the epoch."""

    epoch: int
    text: str
    first_sample: int


@dataclass(frozen=True, slots=True)
class ReplyWords:
    """Where words of the phrase that begins at `first_sample` end; `broken` if its audio ends before it is said."""

    epoch: int
    first_sample: int
    marks: tuple[WordMark, ...]
    broken: bool = False


@dataclass(frozen=True, slots=True)
class ReplyReady:
    """The first audio of the reply waits at the gate."""

    epoch: int


@dataclass(frozen=True, slots=True)
class ReplyAudible:
    """The first sample of the reply that can be heard."""

    epoch: int
    sample: int


@dataclass(frozen=True, slots=True)
class ReplyDone:
    """The reply is made: all its audio was handed on. If there was none, `stage` answers for it; a sentence calls it `who`."""

    epoch: int
    samples: int
    usage: dict[str, int] = field(default_factory=dict)
    stage: Stage = "llm"
    who: str = "The language model"


@dataclass(frozen=True, slots=True)
class ReplyDropped:
    """A reply that was prepared too early is gone: so many tokens and characters of speech were paid for nothing."""

    turn: int
    epoch: int
    tokens: int
    characters: int


@dataclass(frozen=True, slots=True)
class ReplyRetried:
    """A request of the reply failed, and is made once more."""

    epoch: int
    stage: Stage
    code: str


@dataclass(frozen=True, slots=True)
class ReplyFailed:
    """A stage of the reply failed, its retries are spent. `ReplyDone` follows if some audio was made before."""

    epoch: int
    stage: Stage
    code: str
    message: str


# ---------------------------------------------------------------------------- facts: the speaker
@dataclass(frozen=True, slots=True)
class PlaybackStarted:
    """The first sample of the epoch reached the speaker at `at_us`."""

    epoch: int
    at_us: int
    rtt_us: int


@dataclass(frozen=True, slots=True)
class PlaybackProgress:
    """So many samples of the epoch were heard. `kind` says on what occasion the browser tells."""

    epoch: int
    samples: int
    kind: Literal["played", "held", "flushed", "ended"]


Fact = (
    SoundOn | SoundOff | VoiceOn | VoiceLevel | VoicePaused | VoiceResumed | VoiceEnded | EndOfTurn | Tuned
    | TextSubmitted | TalkKey | Left | AgentSays | Tick
    | PartialTranscript | FinalTranscript | SttFailed | SttConnected
    | ReplyConnected | ReplyMark | ReplyPhrase | ReplyWords | ReplyReady | ReplyAudible | ReplyDone | ReplyDropped
    | ReplyRetried | ReplyFailed
    | PlaybackStarted | PlaybackProgress
)  # fmt: skip
