"""The response gap: callers that speak to a server over scripted back-ends, turn after turn, some with a pause in mid-turn."""

import asyncio
import random
import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from voiceagent import protocol
from voiceagent.bench.processes import BenchError, behind, utterance, whole_frames
from voiceagent.bench.profiles import PATIENT_MS, PAUSE_MS, PROFILES, Profile, said
from voiceagent.bench.reckoning import Answered, TwinLog, Waits, own_ms, spread, wasted
from voiceagent.caller import FRAME_BYTES, FRAME_S, Call

WORDS = "how are you"  # half a second, without a silence inside
PAUSES_EVERY = 4  # one turn in so many has a pause in it
PAUSES_MS = range(260, 401, 20)  # whole frames
DICTATION_S = 40
PHRASE_S = 2.5  # of a dictation, between two pauses
APART_S = 0.13  # the sessions must not all speak at once
ANSWER_TIMEOUT_S = 12.0  # one turn without an answer must not take the time of ten
LEAST_SHARE = 0.9  # of the turns must be answered for the figures to mean anything


class GapCall(Call):
    """A call that also keeps which turn each reply's first frame was for."""

    def __init__(self, url: str, utterances: Sequence[bytes]) -> None:
        super().__init__(url, utterances, timeout_s=ANSWER_TIMEOUT_S)
        self.replies: list[tuple[float, int]] = []

    def _frame(self, frame: protocol.ReplyFrame, now_s: float) -> None:
        if frame.first_sample == 0 and not frame.filler:
            self.replies.append((now_s, frame.turn))
        super()._frame(frame, now_s)

    def answered(self) -> list[Answered]:
        """Return the utterances that were answered, in order: from the end of each to the first frame that came."""
        ends = [at_s for at_s, kind in self.log if kind == "speech ends"]
        found = []
        for end_s, next_s in pairwise([*ends, float("inf")]):
            first = next(((at_s, turn) for at_s, turn in self.replies if end_s <= at_s < next_s), None)
            if first is not None:
                at_s, turn = first
                found.append(Answered((at_s - end_s) * 1000, " ".join(self.turns[turn].reply)))
        return found

    @property
    def cut_off(self) -> int:
        """How many utterances a reply broke into."""
        begins = [at_s for at_s, kind in self.log if kind == "speech begins"]
        ends = [at_s for at_s, kind in self.log if kind == "speech ends"]
        return sum(any(b < at_s < e for at_s, _ in self.replies) for b, e in zip(begins, ends, strict=False))


def gap(profile: str = "peers", *, endpoint_ms: int | None = None) -> dict[str, Any]:
    """Measure the response gap at the callers: from the last voiced sample to the reply's first frame that comes."""
    chosen = PROFILES[profile]
    endpoint_ms = chosen.endpoint_ms if endpoint_ms is None else endpoint_ms
    burst = utterance(WORDS)
    settings = {
        "endpoint_ms": endpoint_ms, "endpoint_adapts": False, "pause_ms": min(PAUSE_MS, endpoint_ms),
        "speculate": True, "max_sessions": 200,
    }  # fmt: skip
    plans = [_short(burst, chosen.turns, number, endpoint_ms) for number in range(chosen.sessions)]
    plans += [_long(burst, endpoint_ms)] * chosen.dictations
    with behind(chosen.script(said(len(plans))), **settings) as running:
        calls = asyncio.run(_calls(running.url, plans))
    log = TwinLog(running.twin.log if running.twin is not None else [])
    lag_ms = chosen.delays.get("partial_lag_ms")
    waits = Waits(endpoint_ms, settings["pause_ms"], chosen.delays["llm_token_ms"], lag_ms)
    return {"profile": profile, "endpoint_ms": endpoint_ms, **_figures(chosen, calls, log, waits)}


def _short(burst: bytes, turns: int, number: int, endpoint_ms: int) -> list[bytes]:
    """What a session says: the same words in every turn; a quarter of the turns has them twice, with a pause between."""
    dice = random.Random(number)  # noqa: S311 - to be repeated, not to be secret
    said = [whole_frames(burst, FRAME_BYTES) for _ in range(turns)]
    if endpoint_ms >= PATIENT_MS:  # a shorter wait ends the turn in the pause
        for turn in range(1 + number % PAUSES_EVERY, turns, PAUSES_EVERY):
            said[turn] = whole_frames(burst + _silence(dice.choice(PAUSES_MS)) + burst, FRAME_BYTES)
    return said


def _long(burst: bytes, endpoint_ms: int) -> list[bytes]:
    """What a dictating session says: one short turn, and 40 s in phrases with pauses that do not end the turn."""
    phrase = burst * round(PHRASE_S * protocol.RATE_HZ * 2 / len(burst))
    pause = _silence(300 if endpoint_ms >= PATIENT_MS else min(160, endpoint_ms - 20))
    phrases = round(DICTATION_S * protocol.RATE_HZ * 2 / len(phrase + pause))
    return [whole_frames(burst, FRAME_BYTES), whole_frames(pause.join([phrase] * phrases), FRAME_BYTES)]


def _silence(ms: int) -> bytes:
    return bytes(ms * protocol.RATE_HZ // 1000 * 2)


async def _calls(url: str, plans: Sequence[Sequence[bytes]]) -> list[GapCall]:
    calls = [GapCall(url, plan) for plan in plans]

    async def run(number: int) -> None:
        await asyncio.sleep(number * APART_S)
        await calls[number].run()

    await asyncio.gather(*(run(number) for number in range(len(calls))))
    return calls


def _figures(profile: Profile, calls: Sequence[GapCall], log: TwinLog, waits: Waits) -> dict[str, Any]:
    short, long = calls[: profile.sessions], calls[profile.sessions :]
    every = [turn for call in short for turn in call.answered()]
    answered = [turn for call in short for turn in call.answered()[1:]]  # the first turn opens connections
    asked = profile.sessions * (profile.turns - 1)
    if len(answered) < LEAST_SHARE * asked:
        errors = "; ".join(error for call in calls for error in call.errors)
        raise BenchError(f"only {len(answered)} of {asked} turns were answered: {errors}")
    reckoned = own_ms(answered, log, waits)
    if not reckoned:
        raise BenchError("the twin's log knows none of the replies")
    least_ms, own = zip(*reckoned, strict=True)
    llm, tts = wasted(every, log)
    gaps = [turn.gap_ms for turn in answered]
    above_ms = [each + FRAME_S * 1000 for each in own]
    figures: dict[str, Any] = {
        **spread("gap", gaps), "scripted_ms": round(statistics.median(least_ms), 1), **spread("own", own),
        "above_script_p50_ms": spread("x", above_ms)["x_p50_ms"],
        "above_script_p95_ms": spread("x", above_ms)["x_p95_ms"],
        "turns": len(answered), "missed_turns": asked - len(answered), "cut_off_turns": sum(c.cut_off for c in short),
        "sessions": len(calls),
        "llm_calls_wasted_per_turn": round(llm, 2), "tts_calls_wasted_per_turn": round(tts, 2),
    }  # fmt: skip
    if long:
        dictated = [turn.gap_ms for call in long for turn in call.answered()[1:]]
        if not dictated:
            raise BenchError("no dictation was answered")
        p50_ms = statistics.median(dictated)
        figures |= {
            "long_gap_p50_ms": round(p50_ms, 1), "long_over_short": round(p50_ms / statistics.median(gaps), 3),
            "long_turns": len(dictated),
        }  # fmt: skip
    return figures
