"""Golden transcripts: a file of facts with the time of each, and under each fact what the conversation asked for.

A line that begins with a number is a fact: milliseconds, and a call that makes it (`ms` turns milliseconds into
microseconds, `samples` into samples). A line ``rules ...`` gives rules as keyword arguments. The lines with ``->`` are
what is expected; ``UPDATE_TRANSCRIPTS=1`` writes them anew, for a person to read and commit.
"""

from pathlib import Path
from typing import Any

from voiceagent import effects, events, protocol
from voiceagent.conversation import Conversation
from voiceagent.rules import Rules
from voiceagent.timeline import TransitionRecord, TurnRecord

FOLDER = Path(__file__).parent / "transcripts"


def ms(value: float) -> int:
    """Milliseconds in microseconds."""
    return round(value * 1000)


def samples(value: float) -> int:
    """Milliseconds in samples."""
    return round(value * 24)


_NAMES = {name: getattr(events, name) for name in dir(events)} | {"ms": ms, "samples": samples}


def play(text: str) -> str:
    """Return the transcript with what the conversation does now."""
    lines: list[str] = []
    conversation: Conversation | None = None
    rules: dict[str, Any] = {}
    for line in text.splitlines():
        if line.startswith("rules "):
            rules = eval(f"dict({line[6:]})", dict(_NAMES))  # noqa: S307 - the repository's own files
        elif line[:1].isdigit():
            at, _, call = line.partition(" ")
            if conversation is None:
                conversation = Conversation(Rules(instructions="Be brief.", **rules), 0)
            fact = eval(call, dict(_NAMES))  # noqa: S307 - the repository's own files
            lines.append(line)
            lines += [f"    -> {told}" for told in map(describe, conversation.handle(fact, ms(float(at)))) if told]
            continue
        elif line.startswith("    ->"):
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"


def describe(effect: effects.Effect) -> str:
    """One line for an effect; the state message is told by the transition beside it."""
    match effect:
        case effects.Record(TransitionRecord() as step):
            reason = f" ({step.reason})" if step.reason else ""
            return f"{step.source} --{step.trigger}--> {step.target}{reason}"
        case effects.Record(TurnRecord() as turn):
            gap = "" if turn.gap is None else f" gap={turn.gap.gap_us / 1000:g}ms residual={turn.gap.residual_us}"
            faults = "".join(f" fault={fault.stage}:{fault.code}" for fault in turn.faults)
            judged = "".join(f" barge_in={barge_in.verdict}" for barge_in in turn.barge_ins)
            return f"record turn {turn.turn} {turn.outcome}{gap}{judged}{faults}"
        case effects.Send(protocol.State()):
            return ""
        case effects.Send(message):
            fields = message.model_dump(exclude={"type", "segments", "marks", "path", "basis", "gap_ms", "at_ms"})
            return f"send {message.type} " + " ".join(f"{name}={value!r}" for name, value in fields.items())
        case effects.StartReply(turn, epoch, messages, canned):
            said = [f"{message['role']}: {message['content']}" for message in messages[1:]]
            return f"StartReply turn={turn} epoch={epoch} " + (f"canned={canned!r}" if canned else " | ".join(said))
        case _:
            fields = {name: getattr(effect, name) for name in effect.__dataclass_fields__}
            return f"{type(effect).__name__} " + " ".join(f"{name}={value!r}" for name, value in fields.items())
