"""A session told line by line, for a person to read: facts in, effects out, what was sent and what was heard."""

from collections.abc import Iterable
from typing import Any

from voiceagent import effects, events, protocol
from voiceagent.simulation.loop import START_US
from voiceagent.timeline import TransitionRecord, TurnRecord

Entry = tuple[int, str, Any]
"""When (microseconds), a sigil, and what: ``<`` a fact, ``>`` an effect, ``~`` the browser or the caller, ``!`` a violation."""


def tell(entries: Iterable[Entry]) -> list[str]:
    """Return the lines; frames and their acknowledgements, while nothing else happens, are one line."""
    lines: list[str] = []
    frames, played, last = 0, 0, 0
    for at_us, sigil, what in entries:
        if epoch := _playing(what):
            running = bool(lines) and epoch == last
            frames = (frames if running else 0) + isinstance(what, protocol.ReplyFrame)
            played = what.samples if isinstance(what, events.PlaybackProgress) else played
            line = _line(at_us, "~", f"epoch {epoch}: {frames} frames sent, played up to {played}")
            lines[len(lines) - running :] = [line]
            last = epoch
            continue
        last = 0
        text = what if isinstance(what, str) else describe(what)
        if text:
            lines.append(_line(at_us, "=" if _is_transition(what) else sigil, text))
    return lines


def _playing(what: Any) -> int:
    """The epoch of a frame or of an acknowledgement; 0 for anything else."""
    if isinstance(what, protocol.ReplyFrame):
        return what.epoch
    return what.epoch if isinstance(what, events.PlaybackProgress) and what.kind == "played" else 0


def _line(at_us: int, sigil: str, text: str) -> str:
    return f"{(at_us - START_US) / 1000:>10.2f} {sigil} {text}"


def _is_transition(what: Any) -> bool:
    return isinstance(what, effects.Record) and isinstance(what.record, TransitionRecord)


def describe(what: Any) -> str:  # noqa: PLR0911 - one line a kind
    """One line for a fact, an effect or a message; what a transition beside it tells anyway is left out."""
    match what:
        case effects.Record(TransitionRecord() as step):
            reason = f" ({step.reason})" if step.reason else ""
            return f"{step.source} --{step.trigger}--> {step.target}{reason}"
        case effects.Record(TurnRecord() as turn):
            gap = "" if turn.gap is None else f" gap={turn.gap.gap_us / 1000:g}ms residual={turn.gap.residual_us}"
            faults = "".join(f" fault={fault.stage}:{fault.code}" for fault in turn.faults)
            judged = "".join(f" barge_in={barge_in.verdict}" for barge_in in turn.barge_ins)
            return f"record turn {turn.turn} {turn.outcome}{gap}{judged}{faults}"
        case effects.Send(protocol.State()) | effects.Send(protocol.TurnDone()):
            return ""
        case effects.Send(message):
            return f"send {describe(message)}"
        case protocol.Message():
            fields = what.model_dump(exclude={"type"})
            return f"{what.type} " + " ".join(f"{name}={value!r}" for name, value in fields.items())
        case effects.StartReply(turn, epoch, messages, canned):
            said = " | ".join(f"{message['role']}: {message['content']}" for message in messages[-1:])
            return (
                f"StartReply turn={turn} epoch={epoch}{' speculative' if what.speculative else ''} {canned or said!r}"
            )
        case _:
            fields = {name: getattr(what, name) for name in what.__dataclass_fields__}
            return f"{type(what).__name__} " + " ".join(f"{name}={value!r}" for name, value in fields.items())
