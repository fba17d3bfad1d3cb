"""The law: which states a conversation has, which triggers there are, and where each pair leads. Nothing else decides.

Rules
-----
1. A session is in exactly one *leaf*. Five names are what everyone sees (page, logs, diagram); `transcribing` and
   `barge_in` have two leaves inside, because what may happen next differs there.
2. A trigger is a decision of the conversation about a fact. The pair (leaf, trigger) alone fixes what happens: it *moves*
   to another leaf, it *stays* (recorded, and the conversation acts), or it is *refused* and nothing has changed.
3. Every leaf but `closed` has one deadline with a trigger of its own, so that no silence lasts for ever.
4. There are no conditions and no actions in the table. Of two rows for one pair the second would silently be lost, so
   building the rulebook fails on it.

Theory of operation
-------------------
`Rulebook` builds one `transitions.Machine` for the process. A session keeps a light `Position`; `Rulebook.fire` puts one
trigger to it. The machine is synchronous, so a step is atomic between awaits and can be neither cancelled nor re-entered.
"""

import logging
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from transitions import Machine, MachineError

logging.getLogger("transitions").setLevel(logging.WARNING)  # its INFO lines cost four times the step itself


class Leaf(StrEnum):
    """Where a session is."""

    LISTENING = "listening"
    TRANSCRIBING_OPEN = "transcribing_open"  # the user has the floor
    TRANSCRIBING_ENDED = "transcribing_ended"  # the turn is over, its text still comes
    THINKING = "thinking"  # until the first frame of the reply is released
    SPEAKING = "speaking"  # until the browser says that the last sample was heard
    BARGE_IN_THINKING = "barge_in_thinking"  # sound while the reply is being made; nothing of it leaves
    BARGE_IN_SPEAKING = "barge_in_speaking"  # sound over the reply; playback is held
    CLOSED = "closed"

    @property
    def state(self) -> str:
        """The name that everyone sees: one of the five states, or `closed`."""
        return _STATE_OF.get(self, str(self))


_STATE_OF = {
    Leaf.TRANSCRIBING_OPEN: "transcribing",
    Leaf.TRANSCRIBING_ENDED: "transcribing",
    Leaf.BARGE_IN_THINKING: "barge_in",
    Leaf.BARGE_IN_SPEAKING: "barge_in",
}


class Trigger(StrEnum):
    """What the conversation decided to have happened."""

    VOICE_ON = "voice_on"  # speech began, or goes on after a pause
    PAUSE = "pause"  # a short silence
    ENDPOINT = "endpoint"  # a silence long enough to end the turn
    ITEM_FINAL = "item_final"  # one committed piece of audio has its transcript, others are still open
    TEXT_READY = "text_ready"  # the turn is over and all its words are there
    TEXT_EMPTY = "text_empty"  # the turn is over and there was nothing in it
    UNCLEAR = "unclear"  # the turn is over, it was long, and no words were found in it
    FIRST_FRAME = "first_frame"  # the first frame of the reply is released
    CONFIRMED = "confirmed"  # the sound over the reply is the user, who goes on speaking
    CONFIRMED_ENDED = "confirmed_ended"  # the same, and the user has finished
    REJECTED = "rejected"  # it was nothing: the reply goes on
    PLAYBACK_ENDED = "playback_ended"  # the last sample was heard
    TEXT_SUBMITTED = "text_submitted"  # the user typed
    PTT_DOWN = "ptt_down"  # the talk key
    PTT_UP = "ptt_up"
    STAGE_FAILED = "stage_failed"  # a back-end failed and its retries are spent
    GAVE_UP = "gave_up"  # there is no voice left to say so: the page says it
    AGENT_TURN = "agent_turn"  # the agent speaks first
    FILL = "fill"  # the reply is late: something else is heard meanwhile
    LEAVE = "leave"  # the browser left, hung up, or the session reached a limit
    # the leaves' deadlines
    IDLE = "idle"
    TOO_LONG = "too_long"
    STT_LATE = "stt_late"
    REPLY_LATE = "reply_late"
    STALLED = "stalled"


STAY = None  # `transitions` calls this an internal transition

_LIVE = (
    Leaf.LISTENING,
    Leaf.TRANSCRIBING_OPEN,
    Leaf.TRANSCRIBING_ENDED,
    Leaf.THINKING,
    Leaf.SPEAKING,
    Leaf.BARGE_IN_THINKING,
    Leaf.BARGE_IN_SPEAKING,
)

TABLE: tuple[tuple[Leaf, Trigger, Leaf | None], ...] = (
    # -- listening: nobody has the floor
    (Leaf.LISTENING, Trigger.VOICE_ON, Leaf.TRANSCRIBING_OPEN),
    (Leaf.LISTENING, Trigger.ITEM_FINAL, STAY),
    (Leaf.LISTENING, Trigger.CONFIRMED_ENDED, Leaf.TRANSCRIBING_ENDED),  # words of a rejected sound that came late
    (Leaf.LISTENING, Trigger.TEXT_SUBMITTED, Leaf.THINKING),
    (Leaf.LISTENING, Trigger.PTT_DOWN, Leaf.TRANSCRIBING_OPEN),
    (Leaf.LISTENING, Trigger.STAGE_FAILED, STAY),
    (Leaf.LISTENING, Trigger.AGENT_TURN, Leaf.THINKING),
    (Leaf.LISTENING, Trigger.IDLE, Leaf.CLOSED),
    # -- transcribing, open: the user speaks
    (Leaf.TRANSCRIBING_OPEN, Trigger.VOICE_ON, STAY),
    (Leaf.TRANSCRIBING_OPEN, Trigger.PAUSE, STAY),
    (Leaf.TRANSCRIBING_OPEN, Trigger.ENDPOINT, Leaf.TRANSCRIBING_ENDED),
    (Leaf.TRANSCRIBING_OPEN, Trigger.ITEM_FINAL, STAY),
    (Leaf.TRANSCRIBING_OPEN, Trigger.TEXT_SUBMITTED, STAY),
    (Leaf.TRANSCRIBING_OPEN, Trigger.PTT_DOWN, STAY),
    (Leaf.TRANSCRIBING_OPEN, Trigger.PTT_UP, Leaf.TRANSCRIBING_ENDED),
    (Leaf.TRANSCRIBING_OPEN, Trigger.STAGE_FAILED, STAY),
    (Leaf.TRANSCRIBING_OPEN, Trigger.TOO_LONG, Leaf.TRANSCRIBING_ENDED),
    # -- transcribing, ended: the last words are being written
    (Leaf.TRANSCRIBING_ENDED, Trigger.VOICE_ON, Leaf.TRANSCRIBING_OPEN),
    (Leaf.TRANSCRIBING_ENDED, Trigger.ITEM_FINAL, STAY),
    (Leaf.TRANSCRIBING_ENDED, Trigger.TEXT_READY, Leaf.THINKING),
    (Leaf.TRANSCRIBING_ENDED, Trigger.TEXT_EMPTY, Leaf.LISTENING),
    (Leaf.TRANSCRIBING_ENDED, Trigger.UNCLEAR, Leaf.THINKING),
    (Leaf.TRANSCRIBING_ENDED, Trigger.TEXT_SUBMITTED, STAY),
    (Leaf.TRANSCRIBING_ENDED, Trigger.PTT_DOWN, Leaf.TRANSCRIBING_OPEN),
    (Leaf.TRANSCRIBING_ENDED, Trigger.STAGE_FAILED, Leaf.THINKING),
    (Leaf.TRANSCRIBING_ENDED, Trigger.STT_LATE, Leaf.THINKING),
    # -- thinking: the reply is being made
    (Leaf.THINKING, Trigger.VOICE_ON, Leaf.BARGE_IN_THINKING),
    (Leaf.THINKING, Trigger.ITEM_FINAL, STAY),
    (Leaf.THINKING, Trigger.FIRST_FRAME, Leaf.SPEAKING),
    (Leaf.THINKING, Trigger.CONFIRMED_ENDED, Leaf.TRANSCRIBING_ENDED),
    (Leaf.THINKING, Trigger.TEXT_SUBMITTED, STAY),
    (Leaf.THINKING, Trigger.PTT_DOWN, Leaf.TRANSCRIBING_OPEN),
    (Leaf.THINKING, Trigger.STAGE_FAILED, STAY),
    (Leaf.THINKING, Trigger.GAVE_UP, Leaf.LISTENING),
    (Leaf.THINKING, Trigger.REPLY_LATE, STAY),
    (Leaf.THINKING, Trigger.FILL, STAY),
    # -- speaking: the reply is being heard
    (Leaf.SPEAKING, Trigger.VOICE_ON, Leaf.BARGE_IN_SPEAKING),
    (Leaf.SPEAKING, Trigger.ITEM_FINAL, STAY),
    (Leaf.SPEAKING, Trigger.CONFIRMED_ENDED, Leaf.TRANSCRIBING_ENDED),
    (Leaf.SPEAKING, Trigger.PLAYBACK_ENDED, Leaf.LISTENING),
    (Leaf.SPEAKING, Trigger.TEXT_SUBMITTED, Leaf.THINKING),
    (Leaf.SPEAKING, Trigger.PTT_DOWN, Leaf.TRANSCRIBING_OPEN),
    (Leaf.SPEAKING, Trigger.STAGE_FAILED, STAY),
    (Leaf.SPEAKING, Trigger.STALLED, Leaf.LISTENING),
    # -- barge-in over thinking: the gate stays shut until the verdict
    (Leaf.BARGE_IN_THINKING, Trigger.VOICE_ON, STAY),
    (Leaf.BARGE_IN_THINKING, Trigger.PAUSE, STAY),
    (Leaf.BARGE_IN_THINKING, Trigger.ENDPOINT, STAY),
    (Leaf.BARGE_IN_THINKING, Trigger.ITEM_FINAL, STAY),
    (Leaf.BARGE_IN_THINKING, Trigger.CONFIRMED, Leaf.TRANSCRIBING_OPEN),
    (Leaf.BARGE_IN_THINKING, Trigger.CONFIRMED_ENDED, Leaf.TRANSCRIBING_ENDED),
    (Leaf.BARGE_IN_THINKING, Trigger.REJECTED, Leaf.THINKING),
    (Leaf.BARGE_IN_THINKING, Trigger.TEXT_SUBMITTED, Leaf.TRANSCRIBING_OPEN),
    (Leaf.BARGE_IN_THINKING, Trigger.PTT_DOWN, Leaf.TRANSCRIBING_OPEN),
    (Leaf.BARGE_IN_THINKING, Trigger.STAGE_FAILED, STAY),
    # -- barge-in over speaking: playback is held until the verdict
    (Leaf.BARGE_IN_SPEAKING, Trigger.VOICE_ON, STAY),
    (Leaf.BARGE_IN_SPEAKING, Trigger.PAUSE, STAY),
    (Leaf.BARGE_IN_SPEAKING, Trigger.ENDPOINT, STAY),
    (Leaf.BARGE_IN_SPEAKING, Trigger.ITEM_FINAL, STAY),
    (Leaf.BARGE_IN_SPEAKING, Trigger.CONFIRMED, Leaf.TRANSCRIBING_OPEN),
    (Leaf.BARGE_IN_SPEAKING, Trigger.CONFIRMED_ENDED, Leaf.TRANSCRIBING_ENDED),
    (Leaf.BARGE_IN_SPEAKING, Trigger.REJECTED, Leaf.SPEAKING),
    (Leaf.BARGE_IN_SPEAKING, Trigger.PLAYBACK_ENDED, Leaf.TRANSCRIBING_OPEN),
    (Leaf.BARGE_IN_SPEAKING, Trigger.TEXT_SUBMITTED, Leaf.TRANSCRIBING_OPEN),
    (Leaf.BARGE_IN_SPEAKING, Trigger.PTT_DOWN, Leaf.TRANSCRIBING_OPEN),
    (Leaf.BARGE_IN_SPEAKING, Trigger.STAGE_FAILED, STAY),
    # -- from everywhere
    *((leaf, Trigger.LEAVE, Leaf.CLOSED) for leaf in _LIVE),
)

DEADLINES: dict[Leaf, tuple[Trigger, ...]] = {
    Leaf.LISTENING: (Trigger.AGENT_TURN, Trigger.IDLE),  # is one still there? then a farewell; then the end
    Leaf.TRANSCRIBING_OPEN: (Trigger.TOO_LONG,),
    Leaf.TRANSCRIBING_ENDED: (Trigger.STT_LATE, Trigger.TEXT_READY),  # late, but what was heard so far is enough
    Leaf.THINKING: (Trigger.REPLY_LATE, Trigger.GAVE_UP),  # the first time an apology, the second time the end
    Leaf.SPEAKING: (Trigger.STALLED,),
    Leaf.BARGE_IN_THINKING: (Trigger.CONFIRMED, Trigger.REJECTED),  # still voiced, or not
    Leaf.BARGE_IN_SPEAKING: (Trigger.CONFIRMED, Trigger.REJECTED),
}
"""What each leaf's deadline becomes."""


class Refused(Exception):  # noqa: N818 - an answer of the rulebook, not a mistake
    """The trigger has no row in this leaf; nothing has changed."""

    def __init__(self, leaf: Leaf, trigger: Trigger) -> None:
        super().__init__(f"{trigger} is refused in {leaf}")
        self.leaf = leaf
        self.trigger = trigger


_LEAF_OF = {
    leaf.value: leaf for leaf in Leaf
}  # an enum's own look-up takes ten times as long, thousands of times a session


@dataclass(eq=False)  # `transitions` tells its models apart by identity
class Position:
    """Where one session stands. `transitions` reads and writes `state`, a leaf's name; everybody else reads `leaf`."""

    state: str = Leaf.LISTENING.value

    @property
    def leaf(self) -> Leaf:
        """The leaf the session is in."""
        return _LEAF_OF[self.state]


class Rulebook:
    """The table, run by one `transitions` machine that all sessions of the process share."""

    def __init__(self, table: tuple[tuple[Leaf, Trigger, Leaf | None], ...] = TABLE) -> None:
        pairs = [(leaf, trigger) for leaf, trigger, _ in table]
        if len(set(pairs)) != len(pairs):
            raise ValueError("two rows of the table have the same leaf and trigger")
        self._machine = Machine(model=None, **machine_arguments(table))

    def allows(self, leaf: Leaf, trigger: Trigger) -> bool:
        """Whether the trigger moves or stays in this leaf."""
        return bool(self._machine.get_transitions(trigger.value, leaf.value))

    def fire(self, position: Position, trigger: Trigger) -> Leaf:
        """Move `position` by one trigger and return the leaf it is in. Raises `Refused`, then nothing has changed."""
        try:
            # An event can be put to any object that has a `state`; registering each session as a model would cost
            # 7 KiB and a search through all others.
            self._machine.events[trigger.value].trigger(position)
        except MachineError:
            raise Refused(position.leaf, trigger) from None
        return position.leaf


@cache
def rulebook() -> Rulebook:
    """Return the process's one rulebook."""
    return Rulebook()


def machine_arguments(table: tuple[tuple[Leaf, Trigger, Leaf | None], ...]) -> dict[str, Any]:
    """Return the table as arguments of `transitions.Machine`."""
    return {
        "states": [leaf.value for leaf in Leaf],
        "initial": Leaf.LISTENING.value,
        "transitions": [
            {"trigger": trigger.value, "source": leaf.value, "dest": None if target is None else target.value}
            for leaf, trigger, target in table
        ],
        "auto_transitions": False,
        "send_event": False,
        "queued": False,
    }


def diagram() -> str:
    """Return the table as a Mermaid state diagram (moves only; what stays is in the table)."""
    from transitions.extensions import GraphMachine

    moves = tuple(row for row in TABLE if row[2] is not None)
    model = Position()
    GraphMachine(model=model, graph_engine="mermaid", title="", **machine_arguments(moves))
    source: str = model.get_graph().source  # type: ignore[attr-defined]  # the machine adds the method
    header, _, body = source.partition("stateDiagram-v2\n")
    del header  # an empty title block, which Mermaid refuses
    # The colours are left to the reader's page: the generated ones are unreadable on a dark one.
    lines = [line.rstrip() for line in body.splitlines() if not line.lstrip().startswith(("classDef", "Class "))]
    return "\n".join(["stateDiagram-v2", *filter(None, lines)]) + "\n"
