"""The benchmark without a clock: what the scripted ear hears and when, the profiles, and the arithmetic of the gap."""

import asyncio
import json

import pytest

from tests.virtual import run_virtual, virtual_time
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
