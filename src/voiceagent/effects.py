"""The effects that the conversation asks for: what the driver is to do, in their order.

Times are microseconds on the server's clock, an `item` is one committed piece of the user's audio, an `epoch` is one
attempt at a reply.
"""

from dataclasses import dataclass

from voiceagent.protocol import Message
from voiceagent.timeline import TransitionRecord, TurnRecord


@dataclass(frozen=True, slots=True)
class Send:
    """Send a control message to the browser."""

    message: Message


@dataclass(frozen=True, slots=True)
class OpenItem:
    """From `from_us` on (less the pre-roll) the microphone's audio belongs to this item of the STT.

    No audio belongs to two items, but where it is sent `again`: then the item before counts no more.
    """

    turn: int
    item: int
    from_us: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class CommitItem:
    """The item's audio is complete: ask for its final transcript. No audio goes to the STT until the next `OpenItem`."""

    turn: int
    item: int


@dataclass(frozen=True, slots=True)
class DiscardItem:
    """Whoever spoke did not want the floor: a voice model is to forget the item."""

    turn: int
    item: int


@dataclass(frozen=True, slots=True)
class TellTyped:
    """A line was typed: a voice model is to know it. To the others the prompt tells it."""

    turn: int
    text: str


@dataclass(frozen=True, slots=True)
class TellHeard:
    """So many samples of a reply that was cut off were heard: a voice model is to remember no more of it."""

    turn: int
    epoch: int
    samples: int


@dataclass(frozen=True, slots=True)
class PauseAfter:
    """From now on propose a pause after so much silence."""

    silence_us: int


@dataclass(frozen=True, slots=True)
class EndpointAfter:
    """The present silence, or the next one, ends the turn once it has lasted so long."""

    silence_us: int


@dataclass(frozen=True, slots=True)
class StartReply:
    """Make a reply behind the gate: from `messages` by the language model, or `canned` words as they stand.

    A `speculative` one calls no function and asks for the speech of its first phrase alone, until it is promoted.
    """

    turn: int
    epoch: int
    messages: tuple[dict[str, str], ...]
    canned: str = ""
    speculative: bool = False


@dataclass(frozen=True, slots=True)
class PromoteReply:
    """The turn has ended as this reply took it to end: it is made in full."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class StartFiller:
    """Bridge the wait for the reply with `sound` (``tone``, or words to say), at once and under an epoch of its own."""

    turn: int
    epoch: int
    sound: str


@dataclass(frozen=True, slots=True)
class OpenGate:
    """Let this epoch's audio go to the browser."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class HoldReply:
    """Pause this epoch in the browser and send no more of it."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ResumeReply:
    """Go on with this epoch from where it was held."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class FlushReply:
    """Drop this epoch's audio here and in the browser, which answers how much was heard."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class CancelReply:
    """Stop making this epoch and close its requests."""

    turn: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Record:
    """Log this."""

    record: TransitionRecord | TurnRecord


@dataclass(frozen=True, slots=True)
class EndSession:
    """Close the WebSocket with this code and release everything."""

    code: int
    reason: str
    message: str
    hint: str


Effect = (
    Send | OpenItem | CommitItem | DiscardItem | TellTyped | TellHeard | PauseAfter | EndpointAfter
    | StartReply | PromoteReply | StartFiller | OpenGate | HoldReply | ResumeReply | FlushReply | CancelReply
    | Record | EndSession
)  # fmt: skip
