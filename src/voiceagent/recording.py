"""How a conversation becomes records: gapless transitions, one terminal record a turn, and the page's last word on it."""

from collections.abc import Iterator
from dataclasses import replace

from voiceagent import protocol
from voiceagent.heard import count_words
from voiceagent.states import Leaf, Trigger
from voiceagent.timeline import Heard, Outcome, TransitionRecord, TurnRecord, response_gap
from voiceagent.turns import Reply, Turn


class Recorder:
    """Counts the transitions of one session and knows since when its leaf is what it is."""

    def __init__(self, now_us: int, *, content: bool) -> None:
        self.began_us = now_us
        self.entered_us = now_us  # the present leaf
        self._seq = 0
        self._content = content

    def move(self, now_us: int, step: tuple[Leaf, Trigger, Leaf]) -> int:
        """Note a step of the machine and return how long the session had been in the leaf it was in, in microseconds."""
        source, _, target = step
        dwell_us = now_us - self.entered_us
        if target is not source:
            self.entered_us = now_us
        return dwell_us

    def transition(
        self, now_us: int, turn: int, epoch: int, step: tuple[Leaf, Trigger, Leaf],
        *, dwell_us: int, deadline_us: int | None, reason: str,
    ) -> TransitionRecord:  # fmt: skip
        """Return the record of a step; its `seq` follows the last one's."""
        source, trigger, target = step
        self._seq += 1
        return TransitionRecord(
            seq=self._seq, at_us=now_us, turn=turn, epoch=epoch, source=source.value, trigger=trigger.value,
            target=target.value, dwell_us=dwell_us, deadline_us=deadline_us, reason=reason,
        )  # fmt: skip

    def turn(self, turn: Turn, outcome: Outcome, now_us: int) -> TurnRecord:
        """Return the one terminal record of a turn."""
        reply = turn.reply
        marks = turn.all_marks
        gap = response_gap(
            marks, rtt_us=turn.rtt_us, leading_silence_us=reply.leading_silence_us if reply is not None else 0
        )
        onsets_us = [barge_in.onset_us for barge_in in turn.barge_ins]
        texts = {"user": turn.text}
        if reply is not None:
            texts |= {"reply": reply.ledger.text, "heard": reply.heard}
        return TurnRecord(
            turn=turn.number, parent=turn.parent, origin=turn.origin, outcome=outcome,
            # A turn that was begun while somebody spoke is as old as what they said.
            started_us=min(turn.started_us, *marks.values(), *onsets_us),
            ended_us=now_us, epoch=reply.epoch if reply is not None else 0,
            path=tuple(turn.path), marks=dict(sorted(marks.items(), key=_moment)), gap=gap if turn.origin != "agent" else None,
            pauses_ms=tuple(pause_ms for pause_ms, _ in turn.pauses),
            pause_waits_ms=tuple(wait_ms for _, wait_ms in turn.pauses),
            wait_ms=turn.wait.silence_ms if turn.wait is not None else None,
            wait_reason=turn.wait.reason if turn.wait is not None else "",
            # Copies: the log's thread reads them while the session goes on.
            speculation=replace(turn.speculation), fillers=turn.fillers, voiced_ms=turn.voiced_us // 1000,
            barge_ins=tuple(replace(barge_in) for barge_in in turn.barge_ins),
            heard_samples=reply.heard_samples if reply is not None else 0,
            reply_samples=(reply.total_samples or 0) if reply is not None else 0,
            usage=dict(turn.usage), rtt_us=turn.rtt_us, reopened=turn.reopened,
            faults=tuple(turn.faults), connections=dict(turn.connections),
            items=tuple(item.key for item in turn.items if item.committed) if outcome != "reopened" else (),
            stt_retries=turn.stt_retries, heard=_heard(reply) if reply is not None else None,
            content=texts if self._content else {},
        )  # fmt: skip


def _moment(mark: tuple[str, int]) -> int:
    return mark[1]


def _heard(reply: Reply) -> Heard:
    heard, whole = reply.heard, reply.ledger.text
    return Heard(len(heard), count_words(heard), len(whole), count_words(whole))


def farewell(turn: Turn, record: TurnRecord) -> Iterator[protocol.Message]:
    """Yield what the browser is told of a turn that is over: what history keeps of the reply, and the measured record."""
    reply = turn.reply
    if reply is not None and reply.released:
        yield protocol.Heard(turn=turn.number, epoch=reply.epoch, text=reply.heard, interrupted=not reply.whole)
    gap = record.gap
    yield protocol.TurnDone(
        turn=turn.number, outcome=record.outcome, origin=record.origin,
        gap_ms=None if gap is None else max(0, gap.gap_us) / 1000,
        basis=None if gap is None else gap.basis,
        segments={} if gap is None else {name: us / 1000 for name, us in gap.segments_us.items()},
        marks={name: (at_us - record.started_us) / 1000 for name, at_us in record.marks.items()},
        path=list(record.path),
    )  # fmt: skip
