"""From what a caller heard and what the twin logged to figures: the gap, what of it is our own, and what was wasted."""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voiceagent.bench.profiles import BURSTS, CLAUSE_TOKENS, REPLIES, code

FRAME_MS = 20
CODE = re.compile(r"\bzo[a-z]{4}\b")
_NUMBERS = {code(number): number for number in range(REPLIES)}


@dataclass(frozen=True, slots=True)
class Answered:
    """One turn as its caller saw it: the gap, and the text of the reply that ended it."""

    gap_ms: float
    reply: str


@dataclass(frozen=True, slots=True)
class Waits:
    """What every turn of a run waits for, apart from the delays that are drawn for it."""

    endpoint_ms: float
    pause_ms: float
    token_ms: float
    partial_lag_ms: float | None = None

    def least_ms(self, stt_ms: float, llm_ms: float, tts_ms: float) -> float:
        """Return the shortest gap that a turn with these delays can have.

        Its words are there with the transcript of what the pause committed, or already with the last partial.
        """
        if self.partial_lag_ms is not None:
            stt_ms = min(stt_ms, max(0.0, self.partial_lag_ms - self.pause_ms))
        clause_ms = CLAUSE_TOKENS * self.token_ms
        return max(self.endpoint_ms, self.pause_ms + stt_ms + llm_ms + clause_ms + tts_ms)


class TwinLog:
    """The twin's log, asked by the words in it. `log` has the entries in order, as JSON."""

    def __init__(self, log: Iterable[Mapping[str, Any]]) -> None:
        by_kind: dict[str, list[Mapping[str, Any]]] = {}
        for entry in log:
            by_kind.setdefault(entry["kind"], []).append(entry)
        self._stt = by_kind.get("stt_delay", [])
        self._llm = {entry["detail"]["number"]: entry["detail"]["ms"] for entry in by_kind.get("llm_delay", [])}
        self._tts: dict[int | None, float] = {}
        for entry in by_kind.get("tts_delay", []):  # of a reply's requests the first one counts
            self._tts.setdefault(number_of(entry["detail"]["text"]), entry["detail"]["ms"])
        self._requests = by_kind.get("llm_request", [])
        self.replies_spoken = [number_of(entry["detail"]) for entry in by_kind.get("tts_request", [])]
        """The reply that each TTS request was for."""

    @property
    def llm_requests(self) -> int:
        """How many there were; they have the numbers of their replies, from 0."""
        return len(self._requests)

    def heard(self, number: int) -> str:
        """Return the code of the last words that the LLM was asked to answer."""
        said = [str(m["content"]) for m in self._requests[number]["detail"] if m["role"] == "user"]
        codes = CODE.findall(said[-1]) if said else []
        return codes[-1] if codes else ""

    def delays_ms(self, number: int) -> tuple[float, float, float] | None:
        """Return what STT, LLM and TTS made the reply of this number wait; None: there was none of them."""
        words, asked_us = self.heard(number), self._requests[number]["at_us"]
        stt = [e["detail"]["ms"] for e in self._stt if words in e["detail"]["text"] and e["at_us"] <= asked_us]
        llm, tts = self._llm.get(number + 1), self._tts.get(number)
        return (stt[-1], llm, tts) if words and stt and llm is not None and tts is not None else None


def number_of(text: str) -> int | None:
    """Return the number of the scripted reply that this is a piece of."""
    found = CODE.search(text)
    return _NUMBERS.get(found.group()) if found is not None else None


def own_ms(answered: Sequence[Answered], log: TwinLog, waits: Waits) -> list[tuple[float, float]]:
    """Return for each turn the least that its script allows, and what the gap is above it less one frame.

    It is never clipped: below zero it says that the caller's last frame was no frame's wait.
    """
    reckoned = []
    for turn in answered:
        number = number_of(turn.reply)
        delays = log.delays_ms(number) if number is not None else None
        if delays is not None:
            least_ms = waits.least_ms(*delays)
            reckoned.append((least_ms, turn.gap_ms - least_ms - FRAME_MS))
    return reckoned


def wasted(answered: Sequence[Answered], log: TwinLog) -> tuple[float, float]:
    """Return the LLM and the TTS requests, each per turn, of which their callers heard nothing."""
    played = {number for turn in answered if (number := number_of(turn.reply)) is not None}
    callers = {_caller(log, number) for number in played}
    asked = [number for number in range(log.llm_requests) if _caller(log, number) in callers]
    unheard = set(asked) - played
    return len(unheard) / len(answered), sum(1 for n in log.replies_spoken if n in unheard) / len(answered)


def _caller(log: TwinLog, number: int) -> int | None:
    """The connection whose words a reply answers."""
    burst = _NUMBERS.get(log.heard(number))
    return None if burst is None else burst // BURSTS


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def spread(name: str, values: Sequence[float]) -> dict[str, float]:
    """Return the median, the 95th and the 99th percentile under their names."""
    return {
        f"{name}_p50_ms": round(statistics.median(values), 1),
        f"{name}_p95_ms": round(quantile(values, 0.95), 1),
        f"{name}_p99_ms": round(quantile(values, 0.99), 1),
    }
