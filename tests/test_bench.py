"""The benchmark without a clock: what the scripted ear hears and when, the profiles, and the arithmetic of the gap."""

import asyncio
import json

import pytest
from click.testing import CliRunner

from tests.virtual import run_virtual, virtual_time
from voiceagent.bench import GAPS, table
from voiceagent.bench.processes import whole_frames
from voiceagent.bench.profiles import BURSTS, PROFILES, REPLIES, code, reply, said
from voiceagent.bench.reckoning import Answered, TwinLog, Waits, number_of, own_ms, spread, wasted
from voiceagent.cli import GAP_PROFILES, main
from voiceagent.phrases import PhraseCutter
from voiceagent.twin import Script, ScriptedEngines
from voiceagent.twin.scripted import tone
from voiceagent.twin.serve import BadScript, load_script, write_log

MS = 24  # samples


def voice(ms):
    """So much of the scripted voice; not from its very beginning, where the tone's first sample is silent."""
    return tone(ms * MS, at=27)


def silence(ms):
    """So much silence."""
    return bytes(ms * MS * 2)


class Ear:
    """A connection to scripted engines that is given 20 ms every 20 ms, as a microphone would."""

    def __init__(self, script):
        self.engines = ScriptedEngines(script)
        self.loop = asyncio.get_running_loop()
        self.partials = []
        self.begin()

    def begin(self):
        """Open the next item."""
        self.item = self.engines.transcribe(self.take, "here")
        self.began_s = self.loop.time()

    def take(self, words):
        """Keep a partial and when it came."""
        self.partials.append((round((self.loop.time() - self.began_s) * 1000), words))

    async def hear(self, pcm):
        """Append audio in real time: a frame is there when it is over."""
        for at in range(0, len(pcm), 20 * MS * 2):
            await asyncio.sleep(0.02)
            self.item.append(pcm[at : at + 20 * MS * 2])

    async def final(self):
        """Commit, and return the words and how many milliseconds they took."""
        began_s = self.loop.time()
        words = await self.item.final()
        return words, round((self.loop.time() - began_s) * 1000, 3)


# ------------------------------------------------------------------------------------------ the scripted ear
@virtual_time
async def test_the_last_word_needs_the_commit():
    """Without a lag the words come with the audio, and the last one only after the commit."""
    ear = Ear(Script(transcripts=["one two three"], partial_every_ms=100))
    await ear.hear(voice(500))
    await asyncio.sleep(1)
    assert ear.partials == [(100, "one"), (200, "one two")]
    assert await ear.final() == ("one two three", 50)


@virtual_time
async def test_partials_a_lag_behind_the_voice():
    """Each word comes a fixed lag after its voice, and the last one that lag after the voice fell silent."""
    ear = Ear(Script(transcripts=["one two three"], partial_every_ms=100, partial_lag_ms=50))
    await ear.hear(voice(400) + silence(100))
    assert ear.partials == [(150, "one"), (250, "one two"), (450, "one two three")]
    assert await ear.final() == ("one two three", 50)


@virtual_time
async def test_silence_makes_no_partials():
    """Words are spread over voice: silence before and inside an utterance brings none."""
    ear = Ear(Script(transcripts=["one two three"], partial_every_ms=100, partial_lag_ms=50))
    await ear.hear(silence(400) + voice(100) + silence(20) + voice(60))
    assert ear.partials == [(550, "one")]
    await ear.final()
    await asyncio.sleep(1)
    assert ear.partials == [(550, "one")]


@virtual_time
async def test_words_follow_the_bursts():
    """An item has the words of the bursts that begin in it, however a turn is cut into items; the last text repeats."""
    ear = Ear(Script(transcripts_by_burst=[["first words", "second words", "third"]], partials=False))
    await ear.hear(silence(400) + voice(300) + silence(100))
    assert (await ear.final())[0] == "first words"
    ear.begin()
    await ear.hear(silence(200) + voice(300) + silence(40) + voice(100) + silence(60) + voice(200))
    assert (await ear.final())[0] == "second words third"
    ear.begin()
    await ear.hear(silence(400))
    assert (await ear.final())[0] == ""
    ear.begin()
    await ear.hear(voice(100))
    assert (await ear.final())[0] == "third"


@virtual_time
async def test_each_connection_hears_its_own():
    """The lists belong to the connections in the order in which they began."""
    engines = ScriptedEngines(Script(transcripts_by_burst=[["a"], ["b"]]))
    heard = []
    for connection in ("x", "y", "x", "z"):
        item = engines.transcribe(lambda _: None, connection)
        item.append(silence(100) + voice(100))
        heard.append(await item.final())
    assert heard == ["a", "b", "a", "b"]


@virtual_time
async def test_a_long_tail_takes_longer():
    """The delay after a commit grows with the audio since the last one."""
    ear = Ear(Script(stt_delay_ms=200, stt_ms_per_tail_s=30))
    await ear.hear(voice(2_000))
    assert (await ear.final())[1] == 260
    ear.begin()
    await ear.hear(voice(500))
    assert (await ear.final())[1] == 215


# ------------------------------------------------------------------------------------------ drawn delays
def test_drawn_delays_repeat():
    """A seed and a request's number give the same delay again; another seed, stage or number another one."""
    script = Script(sigma=0.35, seed=7)
    drawn = script.drawn_ms("llm", 3, 700)
    assert drawn == Script(sigma=0.35, seed=7).drawn_ms("llm", 3, 700)
    others = [
        script.drawn_ms("tts", 3, 700),
        script.drawn_ms("llm", 4, 700),
        Script(sigma=0.35).drawn_ms("llm", 3, 700),
    ]
    assert drawn not in others
    assert Script().drawn_ms("llm", 3, 700) == 700


def test_drawn_delays_are_lognormal():
    """The median is the plain delay, and the logarithms spread by sigma."""
    script = Script(sigma=0.35)
    drawn = sorted(script.drawn_ms("llm", number, 100) for number in range(2_000))
    assert drawn[1_000] == pytest.approx(100, rel=0.03)
    assert drawn[round(2_000 * 0.8413)] == pytest.approx(100 * 2.71828**0.35, rel=0.05)


def test_stragglers():
    """A share of the requests takes so many times as long."""
    script = Script(straggler_share=0.015, straggler_factor=4)
    drawn = [script.drawn_ms("llm", number, 100) for number in range(4_000)]
    assert set(drawn) == {100, 400}
    assert 0.010 < drawn.count(400) / 4_000 < 0.020


def test_the_log_tells_the_delays(tmp_path):
    """What each request was made to wait is in the log, and the log is lines of JSON."""
    run_virtual(_log_the_delays(tmp_path))


async def _log_the_delays(tmp_path):
    engines = ScriptedEngines(Script(sigma=0.35, replies=["one two"]))
    began_s = asyncio.get_running_loop().time()
    assert [token async for token in engines.reply([{"role": "user", "content": "x"}], [])] == ["one ", "two"]
    waited_ms = (engines.of("llm_first_token")[0].at_us / 1e6 - began_s) * 1000
    write_log(engines, tmp_path / "log")
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["llm_request", "llm_delay", "llm_first_token", "llm_token", "llm_done"]
    assert lines[1]["detail"]["ms"] == pytest.approx(waited_ms, abs=0.01)
    assert lines[1]["detail"]["number"] == 1


def test_a_script_file(tmp_path):
    """The numbers of requests, which JSON can only write as text, are numbers again."""
    path = tmp_path / "script.json"
    path.write_text('{"llm_error": {"2": 500}, "tts_stall": [3], "partial_lag_ms": 50}')
    script = load_script(path)
    assert script.llm_error == {2: 500}
    assert (3 in script.tts_stall, script.partial_lag_ms) == (True, 50)
    path.write_text('{"llm_error": {"two": 500}}')
    with pytest.raises(BadScript, match="cannot be read"):
        load_script(path)


# ------------------------------------------------------------------------------------------ profiles
def test_the_profiles():
    """The delays are the ones that the figures are compared by, and each makes a script."""
    delays = {
        name: [p.delays[key] for key in ("stt_delay_ms", "llm_first_token_ms", "llm_token_ms", "tts_first_byte_ms")]
        for name, p in PROFILES.items()
    }
    assert delays == {
        "peers": [50, 100, 10, 80], "mid": [150, 400, 10, 300], "seed": [270, 500, 10, 600],
        "seed-streaming": [270, 500, 10, 600], "openai26": [140, 700, 10, 600], "zero": [0, 0, 0, 0],
    }  # fmt: skip
    assert [PROFILES[name].endpoint_ms for name in ("peers", "zero")] == [200, 200]
    scripts = {name: Script(**profile.script(said(2))) for name, profile in PROFILES.items()}
    assert {name for name, script in scripts.items() if script.partials} == {"seed-streaming"}
    assert {name for name, script in scripts.items() if script.sigma} == {"openai26"}


def test_each_profile_has_turns_enough():
    """At least 200 turns are counted, over four sessions or more."""
    assert all(p.sessions * (p.turns - 1) >= 200 and p.sessions >= 4 for p in PROFILES.values())
    assert all(2 * p.turns <= BURSTS for p in PROFILES.values())


def test_the_command_knows_the_profiles():
    """The command offers the profiles that there are, and refuses another one."""
    assert set(GAP_PROFILES) == set(PROFILES) == {profile for profile, _ in GAPS}
    refused = CliRunner().invoke(main, ["bench", "gap", "--profile", "fast"])
    assert refused.exit_code == 2
    assert "is not one of 'peers'" in refused.output


def test_codes_are_words_of_their_own():
    """Every burst and every reply can be told by one word, and a reply's first phrase has it."""
    assert len({code(number) for number in range(REPLIES)}) == REPLIES
    texts = said(3)
    assert texts[2][5].endswith(code(2 * BURSTS + 5))
    for number in (0, 17, REPLIES - 1):
        cutter = PhraseCutter()
        tokens = [f"{word} " for word in reply(number).split()]
        phrases = [phrase for token in tokens for phrase in cutter.feed(token)] + cutter.flush()
        assert [len(sentence.split()) for sentence in reply(number).split(". ")] == [12, 12]
        assert phrases[0] == f"this is sentence {code(number)}"
        assert {number_of(phrase) for phrase in phrases} == {number}
    assert number_of("Sorry, please say that again.") is None


def test_speech_ends_with_a_frame():
    """Silence before it makes it whole frames, and what is whole stays as it is."""
    assert whole_frames(b"abcdefg", 4) == b"\0abcdefg"
    assert whole_frames(b"abcdefgh", 4) == b"abcdefgh"


# ------------------------------------------------------------------------------------------ the arithmetic
def test_the_least_gap():
    """The endpoint wait or the stages behind the pause, whichever takes longer; partials can be sooner than a commit."""
    assert Waits(200, 100, 10).least_ms(50, 100, 80) == 370
    assert Waits(500, 100, 10).least_ms(50, 100, 80) == 500
    assert Waits(200, 100, 10).least_ms(300, 500, 600) == 1_540
    assert Waits(200, 100, 10, partial_lag_ms=50).least_ms(300, 500, 600) == 1_240
    assert Waits(200, 100, 10, partial_lag_ms=150).least_ms(300, 500, 600) == 1_290
    assert Waits(200, 100, 0).least_ms(0, 0, 0) == 200


def log_of(*turns):
    """A twin's log: for each reply (burst, STT, LLM, TTS), with or without speech."""
    log, at_us = [], 0
    for number, (burst, stt_ms, llm_ms, tts_ms) in enumerate(turns):
        at_us += 1_000_000
        words, phrase = f"tell me about {code(burst)}", f"this is sentence {code(number)}"
        prompt = [{"role": "user", "content": f"tell me about {code(7)}"}, {"role": "user", "content": words}]
        entries = [
            ("stt_delay", {"number": 1, "ms": stt_ms, "text": words}),
            ("llm_request", prompt),
            ("llm_delay", {"number": number + 1, "ms": llm_ms, "text": ""}),
        ]
        if tts_ms is not None:
            entries += [
                ("tts_request", phrase),
                ("tts_delay", {"number": 1, "ms": tts_ms, "text": phrase}),
                ("tts_request", f"with twelve words. this is sentence {code(number)}"),
                ("tts_delay", {"number": 2, "ms": tts_ms * 9, "text": f"with twelve words {code(number)}"}),
            ]
        log += [{"at_us": at_us, "kind": kind, "detail": detail} for kind, detail in entries]
    return TwinLog(log)


def test_own_overhead():
    """Each turn's gap less what its own drawn delays allow, less a frame; below zero it stays below zero."""
    log = log_of((3, 50, 100, 80), (BURSTS, 60, 300, 90))
    answered = [Answered(375.0, reply(0)), Answered(612.5, reply(1)), Answered(900.0, "Sorry.")]
    assert own_ms(answered, log, Waits(200, 100, 10)) == [(370, -15), (590, 2.5)]


def test_the_delay_of_the_last_commit_counts():
    """Words that were committed twice before the request count as they came the last time; later ones do not."""
    words = f"tell me about {code(1)}"
    log = [
        {"at_us": at_us, "kind": "stt_delay", "detail": {"number": 1, "ms": ms, "text": words}}
        for at_us, ms in ((1, 50.0), (2, 70.0), (9, 90.0))
    ]
    log += log_of((1, 1, 100, 80))._requests
    log[-1] = {**log[-1], "at_us": 5}
    log.append({"at_us": 6, "kind": "llm_delay", "detail": {"number": 1, "ms": 100, "text": ""}})
    log.append({"at_us": 7, "kind": "tts_delay", "detail": {"number": 1, "ms": 80, "text": reply(0)}})
    assert TwinLog(log).delays_ms(0) == (70.0, 100, 80)


def test_waste():
    """A request is wasted if no caller heard of it; another session's requests are not counted."""
    log = log_of((0, 50, 100, 80), (1, 50, 100, None), (2, 50, 100, 80), (3, 50, 100, 80), (BURSTS, 50, 100, 80))
    answered = [Answered(370.0, reply(0)), Answered(370.0, reply(3))]
    assert wasted(answered, log) == (1.0, 1.0)


def test_spread():
    """Percentiles are values that occurred."""
    assert spread("gap", list(range(1, 101))) == {"gap_p50_ms": 50.5, "gap_p95_ms": 95, "gap_p99_ms": 99}


def test_the_table_of_gaps():
    """A row for each profile, its command, what was wasted, and beneath the peers' figures what the peers take."""
    figures = {
        "profile": "peers", "endpoint_ms": 500, "gap_p50_ms": 502.4, "gap_p95_ms": 505.0, "scripted_ms": 500.0,
        "llm_calls_wasted_per_turn": 0.25, "tts_calls_wasted_per_turn": 0.2,
    }  # fmt: skip
    rows = table({"gap --endpoint-ms 500": figures})
    assert (
        "| response gap, `peers`, endpoint wait 500 ms, p50 / p95 (the script alone) | 502 / 505 ms (500); "
        "0.25 LLM and 0.20 TTS calls wasted a turn | `voiceagent bench gap --endpoint-ms 500` |" in rows
    )
    assert "LiveKit Agents 1.8.9" in rows
    long = {**figures, "profile": "seed", "long_gap_p50_ms": 1_600.0, "long_over_short": 1.03}
    rows = table({"gap --profile seed": long})
    assert "| 1600 ms, 1.03 times the short turn's | `voiceagent bench gap --profile seed` |" in rows
    assert "LiveKit" not in rows
