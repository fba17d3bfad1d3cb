"""The tables of docs/faults.md: every fault and every field, from the rules' own models."""

import json
from typing import Any

from voiceagent.twin.fault_rules import RULES, EventRule, PlaceRule, Rule, name_of

BASES: tuple[tuple[type[Rule], str], ...] = ((PlaceRule, "place"), (EventRule, "events"), (Rule, "whole"))


def tables() -> str:
    """Return Markdown: the faults with the fields of their own, then the fields that several have."""
    lines = ["| Fault | What happens | Strikes | Fields of its own |", "|---|---|---|---|"]
    for rule in RULES:
        base, strikes = next(pair for pair in BASES if issubclass(rule, pair[0]))
        own = [
            _field(name, info) for name, info in rule.model_fields.items()
            if name != "fault" and (name not in base.model_fields or info.default != base.model_fields[name].default)
        ]  # fmt: skip
        lines.append(f"| `{name_of(rule)}` | {_doc(rule)} | {strikes} | {'<br>'.join(own)} |")
    lines += ["", "| Field | Of faults that strike | Meaning |", "|---|---|---|"]
    for base, strikes in reversed(BASES):
        whose = "whatever" if base is Rule else strikes
        lines += [
            f"| `{name}` | {whose} | {info.description} |" for name, info in base.model_fields.items()
            if base is Rule or name not in Rule.model_fields
        ]  # fmt: skip
    return "\n".join(line for line in lines if not line.startswith("| `fault` |")) + "\n"


def _doc(rule: type[Rule]) -> str:
    return " ".join((rule.__doc__ or "").split()).replace("|", "\\|")


def _field(name: str, info: Any) -> str:
    if info.is_required():
        return f"`{name}` (required): {info.description}"
    default = info.get_default()
    shown = "" if default in (None, "", 0, False) else f" (`{json.dumps(default, ensure_ascii=False)}`)"
    return f"`{name}`{shown}: {info.description}".replace("|", "\\|")
