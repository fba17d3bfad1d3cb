"""The measures of the stages' clients without a clock: what is counted, the arithmetic, and the table's rows."""

import dataclasses
from contextlib import asynccontextmanager

import pytest

from tests.virtual import virtual_time
from voiceagent.bench import client_costs, client_waits, reconnects, table
from voiceagent.bench.client_rig import AT_ONCE, Listener, running, stages_at
from voiceagent.bench.processes import BenchError
from voiceagent.bench.reconnects import Utterance, plan, reckoned, utterances
from voiceagent.events import FinalTranscript, SttConnected, SttFailed
from voiceagent.twin import FaultPlan, Script, ScriptedEngines, TwinServer, create_twin


@asynccontextmanager
async def twin(script=AT_ONCE, faults=()):
    """A twin in this process: its URL, its engines' log and its plan."""
    engines, rules = ScriptedEngines(Script(**script)), FaultPlan(faults)
    async with TwinServer(create_twin(engines, faults=rules)) as server:
        yield server.base_url, engines, rules


def entries(log):
    """A log as JSON has it."""
    return [dataclasses.asdict(entry) for entry in log]


# ------------------------------------------------------------------------------------------ lost sockets
def test_every_other_session_is_lost():
    """Each at another part of its utterance, by an end and by a reset in turn."""
    drop = {"fault": "drop", "stage": "stt", "direction": "up"}
    assert plan(3, 50) == [
        {**drop, "nth": 1, "reset": False, "after_events": 11},
        {**drop, "nth": 3, "reset": True, "after_events": 21},
        {**drop, "nth": 5, "reset": False, "after_events": 31},
    ]


@virtual_time
async def test_what_was_lost_is_counted_by_the_peer():
    """Sockets die in mid-utterance; the peer's commits have as many samples as the client was given."""
    async with twin(faults=plan(4, 30)) as (url, engines, rules):
        said = await utterances(url, 4, 30)
        figures = reckoned(said, entries(rules.log), entries(engines.log))
    assert [entry.detail for entry in engines.of("stt_commit")] == [30 * 480] * 4
    assert [done.fault for done in rules.log] == ["drop"] * 4
    assert len(engines.of("stt_append_first")) == 8  # on the lost session and on the next
    counted = {"losses": 4, "samples": 57_600, "lost_samples": 0, "extra_samples": 0}
    assert figures == {**figures, **counted}


@virtual_time
async def test_a_lost_frame_is_found():
    """A client that loses one frame, and one that sends one twice, do not go unnoticed."""
    async with twin(faults=plan(2, 30)) as (url, engines, rules), stages_at(url) as stages:

        def lossy(times):
            def make(post):
                stt = stages.stt(post)
                append, given = stt.append, []

                def once_otherwise(pcm):
                    given.append(pcm)
                    for _ in range(times if len(given) == 20 else 1):
                        append(pcm)

                stt.append = once_otherwise
                return stt

            return make

        said = [await reconnects.speak_on(lossy(times), 30) for times in (0, 2)]
        figures = reckoned(said, entries(rules.log), entries(engines.log))
    assert (figures["lost_samples"], figures["extra_samples"]) == (480, 480)


def test_times_and_samples_of_losses():
    """From the peer's loss to the confirmed session; too few and too many do not make up for each other."""
    said = [Utterance(1_000, 10.5), Utterance(1_000, 20.25)]
    done = [
        {"fault": "drop", "at_us": 10_375_000},
        {"fault": "note", "at_us": 1},
        {"fault": "drop", "at_us": 20_000_000},
    ]
    log = [{"kind": "stt_commit", "detail": 900}, {"kind": "stt_delay", "detail": {}}]
    with pytest.raises(BenchError, match="2 utterances, 2 lost sockets, 1 commits"):
        reckoned(said, done, log)
    assert reckoned(said, done, [*log, {"kind": "stt_commit", "detail": 1_100}]) == {
        "p50_ms": 125.0, "p95_ms": 250.0, "losses": 2, "samples": 2_000, "lost_samples": 100, "extra_samples": 100,
    }  # fmt: skip


# ------------------------------------------------------------------------------------------ what clients cost
@virtual_time
async def test_what_is_weighed():
    """Every client does its work against a twin, and there is a figure for all but what connects."""
    async with twin() as (url, engines, _):
        assert len(await client_costs.heard(client_costs.Nobody, 2, 10)) == 2
        assert engines.log == []
        async with stages_at(url, **client_costs.SPEECH) as stages:
            assert len(await client_costs.heard(stages.stt, 2, 10)) == 2
            assert len(await client_costs.spoken(stages.tts, 2)) == 2
            assert len(await client_costs.written(stages.llm, 2)) == 2
        async with stages_at(url, **client_costs.FILES) as stages:
            assert len(await client_costs.heard(stages.stt, 2, 10)) == 2
            assert len(await client_costs.spoken(stages.tts, 2)) == 2
        async with stages_at(url, mode="realtime") as stages:
            costs, answers = await client_costs.conversed(stages.voice, 2, 10)
    assert (len(costs), len(answers)) == (2, 2)
    assert [entry.detail for entry in engines.of("stt_commit")] == [4_800] * 9
    assert len(engines.of("tts_done")) == 9
    assert len(engines.of("llm_done")) == 6


def test_the_frames_are_deducted():
    """The median, less what the frames cost without a client; that is told beside it."""
    costs = {"frames": [1.0, 3.0, 2.0], "realtime": [9.0, 5.0, 7.5], "file": [2.0, 1.5, 2.25]}
    assert client_costs.net(costs) == {"frames": 2.0, "realtime": 5.5, "file": 0.0}


# ------------------------------------------------------------------------------------------ waits
@virtual_time
async def test_first_audio_cold_and_warm():
    """A cold request opens its connection and a warm one finds it."""
    async with twin() as (url, engines, _):
        found = [
            await client_waits.first_speech(url, 2, **client_costs.SPEECH),
            await client_waits.first_speech(url, 2),
            await client_waits.first_answer(url, 2),
        ]
    assert [(len(cold), len(warm)) for cold, warm in found] == [(2, 2)] * 3
    assert len(engines.of("tts_done")) == 12


@pytest.mark.parametrize("name", client_waits.LEAVING)
def test_each_stream_that_is_left_is_stopped(name):
    """The twin's engine was stopped in mid-stream as often as a client left one."""
    script, _, kind = client_waits.LEAVING[name]

    @virtual_time
    async def leave():
        async with twin(script) as (url, engines, _), stages_at(url, **WAYS[name]) as stages:
            if name == "llm":
                left = await client_waits.left_replies(stages.llm, 3)
            elif name == "voice":
                async with running(stages.voice) as (voice, _):
                    left = await client_waits.left_answers(voice, 3)
            else:
                left = await client_waits.left_speech(stages.tts, 3)
            assert len(client_waits.seen_ms(left, entries(engines.log), kind)) == 3

    leave()


WAYS = {"llm": {}, "speech": client_costs.SPEECH, "realtime": {}, "voice": {"mode": "realtime"}}


def test_how_late_a_leaving_is_seen():
    """Each leaving with the stop that followed it; one that was not seen is no figure."""
    log = [{"kind": kind, "at_us": at_us} for kind, at_us in (("llm_token", 1), ("llm_cancelled", 1_002_000))]
    log.append({"kind": "llm_cancelled", "at_us": 2_000_500})
    assert [round(ms, 3) for ms in client_waits.seen_ms([1.0, 2.0], log, "llm_cancelled")] == [2.0, 0.5]
    with pytest.raises(BenchError, match="of 2 streams that were left, 0 were stopped"):
        client_waits.seen_ms([1.0, 2.0], log, "tts_cancelled")


# ------------------------------------------------------------------------------------------ the rig
@virtual_time
async def test_a_listener_waits_and_says_what_did_not_come():
    """Words and connections as they are told; what does not come in time, or fails, ends the measure."""
    listener = Listener()
    listener.take(FinalTranscript(1, "hello"))
    listener.take(SttFailed(0, "lost", "The line is gone."))
    listener.take(SttFailed(2, "lost", "The line is gone."))
    listener.take(SttConnected(3))
    await listener.connected()
    assert await listener.final(1) == "hello"
    with pytest.raises(BenchError, match="item 2 was not transcribed: The line is gone"):
        await listener.final(2)
    with pytest.raises(BenchError, match="item 3 was not transcribed"):
        await listener.final(3)
    with pytest.raises(BenchError, match="does not connect"):
        await listener.connected(2)


def test_the_environment_has_no_say(monkeypatch):
    """What a shell has set would be another measure."""
    monkeypatch.setenv("VOICEAGENT_STT_API", "file")
    monkeypatch.setenv("VOICEAGENT_STT_BASE_URL", "http://127.0.0.1:9/v1")

    @virtual_time
    async def hear():
        async with twin() as (url, engines, _), stages_at(url) as stages:
            await client_costs.heard(stages.stt, 1, 10)
        assert len(engines.of("stt_completed")) == 2

    hear()


# ------------------------------------------------------------------------------------------ the table
FIGURES = {
    "cpu_ms_per_s_heard": {"frames": 6.0, "realtime": 14.26, "file": -0.1, "voice": 15.0},
    "cpu_ms_per_s_spoken": {"speech": 4.0, "realtime": 3.5, "voice": 4.14},
    "cpu_ms_per_1000_tokens": 348.5,
    "first_audio": {
        name: {"cold": {"p50_ms": cold, "p95_ms": 99.0}, "warm": {"p50_ms": warm, "p95_ms": 99.0}}
        for name, cold, warm in (("speech", 30.8, 2.7), ("realtime", 34.2, 1.5), ("voice", 44.0, 5.6))
    },
    "leaving": {
        name: {"p50_ms": 1.66, "p95_ms": 2.84} for name in ("llm", "speech", "realtime", "voice")
    },
    "reconnect": {
        "p50_ms": 104.5, "p95_ms": 106.9, "losses": 10, "samples": 600_000, "lost_samples": 0, "extra_samples": 0,
    },
}  # fmt: skip


def test_the_rows_of_the_clients():
    """A row for each of the four measures, those of cost three; what is lost or too much is told."""
    rows = table({"clients": FIGURES}).splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == [
        "STT over Realtime 14.3, STT by files under 1, voice model 15.0 ms",
        "`audio/speech` 4.0, Realtime 3.5, voice model 4.1 ms",
        "348 ms",
        "`audio/speech` 31 / 2.7, Realtime 34 / 1.5, voice model 44 / 5.6 ms",
        "chat completions 1.7 / 2.8, `audio/speech` 1.7 / 2.8, Realtime 1.7 / 2.8, voice model 1.7 / 2.8 ms",
        "104.5 / 106.9 ms; 0 of 600000 samples lost",
    ]
    assert {row.rpartition(" | ")[2] for row in rows} == {"`voiceagent bench clients` |"}
    worse = {**FIGURES, "reconnect": {**FIGURES["reconnect"], "lost_samples": 480, "extra_samples": 7}}
    assert "480 of 600000 samples lost, 7 too many" in table({"clients": worse})
