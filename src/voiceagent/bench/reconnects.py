"""Transcription sessions whose socket is lost in mid-utterance: how soon there is another, and the samples it was told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from voiceagent.bench.client_rig import AT_ONCE, FRAME_SAMPLES, as_in_a_server, running, speak_into, stages_at
from voiceagent.bench.processes import BenchError, faults_done, scripted_twin
from voiceagent.bench.reckoning import quantile
from voiceagent.stages.ports import SttFactory

ROUNDS, FRAMES = 10, 125  # of 2.5 s
CONFIGURED = 1  # the client's first event


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance: the samples that the client was given, and when its second session was confirmed (monotonic)."""

    appended: int
    again_s: float


def plan(rounds: int, frames: int) -> list[dict[str, Any]]:
    """Return faults: every other session loses its socket, each after another part of its utterance.

    By turns it ends (FIN), or is reset (RST).
    """
    return [
        {
            "fault": "drop", "stage": "stt", "nth": 2 * number + 1, "reset": bool(number % 2), "direction": "up",
            "after_events": CONFIGURED + max(1, frames * (number + 1) // (rounds + 2)),
        }
        for number in range(rounds)
    ]  # fmt: skip


async def speak_on(make: SttFactory, frames: int) -> Utterance:
    """Say one utterance over a session that is lost and another. Raises `BenchError`."""
    async with running(make) as (stt, listener):
        await listener.connected()
        await speak_into(stt, 1, frames)
        await listener.final(1)
        await listener.connected(2)
        return Utterance(frames * FRAME_SAMPLES, listener.connected_s[1])


async def utterances(url: str, rounds: int, frames: int) -> list[Utterance]:
    """Say so many, one after the other, each with a client of its own."""
    async with stages_at(url) as stages:
        return [await speak_on(stages.stt, frames) for _ in range(rounds)]


def reckoned(
    said: Sequence[Utterance], done: Sequence[Mapping[str, Any]], log: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the times from the loss to the new session, and the samples of each utterance that were not committed.

    `done` is what the twin's faults did, `log` what its engines were asked. Lost is what an utterance has too few of,
    too many are extra: the one does not make up for the other. Raises `BenchError` where they do not match.
    """
    lost_s = [each["at_us"] / 1e6 for each in done if each["fault"] == "drop"]
    committed = [entry["detail"] for entry in log if entry["kind"] == "stt_commit"]
    if not len(said) == len(lost_s) == len(committed):
        raise BenchError(f"{len(said)} utterances, {len(lost_s)} lost sockets, {len(committed)} commits")
    times_ms = [(each.again_s - at_s) * 1000 for each, at_s in zip(said, lost_s, strict=True)]
    missing = [each.appended - samples for each, samples in zip(said, committed, strict=True)]
    return {
        "p50_ms": round(quantile(times_ms, 0.5), 1), "p95_ms": round(quantile(times_ms, 0.95), 1),
        "losses": len(said), "samples": sum(each.appended for each in said),
        "lost_samples": sum(max(0, samples) for samples in missing),
        "extra_samples": sum(max(0, -samples) for samples in missing),
    }  # fmt: skip


def reconnects() -> dict[str, Any]:
    """Measure it; the samples are counted by the peer."""
    with scripted_twin(AT_ONCE, plan(ROUNDS, FRAMES)) as twin:
        said = as_in_a_server(utterances(twin.url, ROUNDS, FRAMES))
        done = faults_done(twin.url)
    return reckoned(said, done, twin.log)
