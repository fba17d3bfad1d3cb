"""The small rooms: settings, models, tools, clocks, records, the outbox, the command line and the doctor."""

import asyncio
import datetime as dt
import json

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent import doctor, protocol
from voiceagent.cli import main
from voiceagent.clockmap import ClockMap
from voiceagent.logs import RecordLog
from voiceagent.models import TABLE, warnings
from voiceagent.outbox import MAX_CONTROL, Outbox, Overflow
from voiceagent.settings import Settings
from voiceagent.states import diagram
from voiceagent.timeline import CHAIN, response_gap
from voiceagent.tools import CLOCK, Tool, current_time
from voiceagent.twin.scripted import tone


# ------------------------------------------------------------------------------------------ settings
def test_settings_from_the_environment(monkeypatch, tmp_path):
    """Names have a prefix, but for those that everyone knows; an empty value is none; options win."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("VOICEAGENT_GREETING=Hello.\nVOICEAGENT_PAUSE_MS=100\n")
    monkeypatch.setenv("VOICEAGENT_PAUSE_MS", "150")
    monkeypatch.setenv("PORT", "9")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    settings = Settings(endpoint_ms=300)
    assert (settings.greeting, settings.pause_ms, settings.port, settings.endpoint_ms) == ("Hello.", 150, 9, 300)
    assert settings.is_local
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert not Settings().is_local
    assert "sk-secret" not in repr(Settings())


@pytest.mark.parametrize(
    "wrong",
    [
        {"pause_ms": 900}, {"endpoint_ms": 1}, {"tls_cert": "x.pem"}, {"backend": "openai"}, {"port": 70_000},
        {"instructions_file": "nowhere.txt"}, {"pre_roll_ms": 100}, {"lead_ms": 5000},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_settings(wrong):
    """What cannot be is refused."""
    with pytest.raises(ValidationError):
        settings_for_tests(**{"backend": "auto", **wrong})


def test_instructions_from_a_file(tmp_path):
    """A file's text replaces the instructions."""
    path = tmp_path / "persona.txt"
    path.write_text("Be a pirate.\n")
    assert settings_for_tests(instructions_file=path).prompt == "Be a pirate."


# ------------------------------------------------------------------------------------------ models
@pytest.mark.parametrize(
    ("today", "said"),
    [
        (dt.date(2026, 1, 1), []),
        (dt.date(2026, 11, 24), ["will be shut down on 2027-01-06"]),
        (dt.date(2027, 2, 1), ["was shut down on 2027-01-06"]),
    ],
)
def test_models_near_their_end(today, said):
    """A chosen model that ends within 90 days, or has ended, is named with its successor."""
    sentences = warnings(settings_for_tests(tts_model="tts-1"), today)
    assert len(sentences) == len(said)
    assert all(part in sentence for part, sentence in zip(said, sentences, strict=True))


def test_models_have_successors():
    """Whatever ends has something to go on with."""
    assert [name for name, row in TABLE.items() if row.shutdown and not row.successor] == []


# ------------------------------------------------------------------------------------------ tools
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


async def test_a_tool():
    """Its schema follows from the function; it is called with checked arguments."""
    tool = Tool.from_function(add)
    assert tool.schema["function"]["name"] == "add"
    assert tool.schema["function"]["description"] == "Add two numbers."
    assert tool.schema["function"]["parameters"]["required"] == ["a"]
    assert await tool.call('{"a": 1, "b": 5}') == "6"
    assert await tool.call('{"a": 1}') == "3"
    assert await tool.call('{"a": "x"}') == "Error: the arguments do not fit (1 wrong)."
    assert await tool.call("{") == "Error: the arguments do not fit (1 wrong)."


async def test_a_tool_that_fails():
    """Whatever it raises becomes a text that the model can speak of; it may be a coroutine."""

    async def fail(why: str) -> str:
        """Fail."""
        raise RuntimeError(why)

    assert await Tool.from_function(fail).call('{"why": "secret"}') == "Error: RuntimeError."


def test_what_is_no_tool():
    """Without a docstring or a type the model would have to guess."""

    def silent(a: int) -> int:
        return a

    def untyped(a):
        """Do something."""
        return a

    with pytest.raises(TypeError, match="docstring"):
        Tool.from_function(silent)
    with pytest.raises(TypeError, match="needs a type"):
        Tool.from_function(untyped)


def test_the_clock():
    """The example tells the time in a zone, and says when there is no such zone."""
    assert CLOCK.name == "current_time"
    assert current_time("UTC").endswith("UTC")
    assert current_time("Nowhere/Land") == "There is no time zone Nowhere/Land."


# ------------------------------------------------------------------------------------------ clocks and gaps
def test_clock_map():
    """The exchange with the shortest round trip is believed; a late answer does not spoil the mapping."""
    clock = ClockMap(keep=3)
    assert (clock.known, clock.rtt_us, clock.to_server_us(1)) == (False, 0, None)
    clock.pong(1_000_000, 1_010_000, 5.0)
    assert clock.to_server_us(5.0) == 1_005_000
    clock.pong(2_000_000, 2_500_000, 1005.0)
    assert (clock.rtt_us, clock.to_server_us(5.0)) == (10_000, 1_005_000)
    for at in range(3):
        clock.pong(3_000_000 + at, 3_100_000 + at, 2005.0)
    assert clock.rtt_us == 100_000


def test_segments_tile_the_gap():
    """Each mark ends its segment; what was finished earlier is hidden; the sum is the gap."""
    marks = {"speech_end": 0}
    marks |= {mark: (index + 1) * 1000 for index, (_, mark) in enumerate(CHAIN)}
    marks |= {"commit": 100, "stt_final": 500}  # known before the endpoint
    marks["playback_start"] = 20_000
    gap = response_gap(marks, rtt_us=4000, leading_silence_us=300)
    assert (gap.gap_us, gap.basis, gap.residual_us, gap.hidden_us) == (20_300, "heard", 0, 400)
    assert sum(gap.segments_us.values()) == gap.gap_us
    assert gap.segments_us["stt_tail"] == 0
    assert (gap.segments_us["network"], gap.segments_us["leading_silence"]) == (2000, 300)


@pytest.mark.parametrize(("marks", "gap"), [({}, None), ({"speech_end": 0}, None), ({"first_frame_sent": 5}, None)])
def test_no_gap(marks, gap):
    """Without a beginning or a reply there is none."""
    assert response_gap(marks) is gap


# ------------------------------------------------------------------------------------------ the outbox
class Wire:
    """What went out, on a virtual clock."""

    def __init__(self, **options):
        self.loop = asyncio.get_running_loop()
        self.sent = []
        self.first = []
        settings = {
            "lead_us": 200_000,
            "send_timeout_s": 1,
            "on_first_frame": lambda *a: self.first.append(a),
            "on_playing": lambda *_: None,
            "on_silent": lambda: None,
            "on_resumed": lambda _: None,
            **options,
        }
        self.outbox = Outbox(self.send, lambda: round(self.loop.time() * 1e6), **settings)
        self.task = asyncio.create_task(self.outbox.run())

    async def send(self, message):
        """Take one message."""
        self.sent.append((round(self.loop.time() * 1000), message))

    @property
    def kinds(self):
        """What went out: frames as their first sample."""
        return [m.first_sample if isinstance(m, protocol.ReplyFrame) else m.type for _, m in self.sent]

    async def close(self):
        """End the sender."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@virtual_time
async def test_the_gate():
    """Nothing of an epoch goes out before its gate opens, and control overtakes audio."""
    wire = Wire()
    wire.outbox.begin(1, 1)
    await wire.outbox.audio(1, tone(2400))
    await asyncio.sleep(1)
    assert wire.sent == []
    wire.outbox.open(1)
    wire.outbox.put(protocol.Ping(id=1))
    wire.outbox.complete(1, 2400)
    await asyncio.sleep(1)
    assert wire.kinds == ["ping", 0, 960, 1920, "reply_end"]
    assert len(wire.first) == 1
    await wire.close()


@virtual_time
async def test_no_frame_after_its_flush():
    """After a flush no frame of the epoch goes out, and what still comes of it is dropped."""
    wire = Wire()
    wire.outbox.begin(1, 1)
    await wire.outbox.audio(1, tone(24_000))
    wire.outbox.open(1)
    await asyncio.sleep(0.1)
    wire.outbox.flush(1, 1)
    await wire.outbox.audio(1, tone(24_000))
    wire.outbox.open(1)
    await asyncio.sleep(1)
    assert wire.kinds[-1] == "flush"
    assert wire.kinds.count("flush") == 1
    await wire.close()


@virtual_time
async def test_a_hold_stops_the_sending():
    """While it is held nothing goes out; after the resume it goes on without a gap, no more than the lead ahead."""
    wire = Wire()
    wire.outbox.begin(1, 1)
    await wire.outbox.audio(1, tone(48_000))
    wire.outbox.open(1)
    await asyncio.sleep(0.5)
    wire.outbox.hold(1)
    await asyncio.sleep(0.001)
    count = len(wire.sent)
    await asyncio.sleep(5)
    assert len(wire.sent) == count
    wire.outbox.played(1, 12_000)
    wire.outbox.resume(1)
    await asyncio.sleep(5)
    frames = [shown for _, shown in wire.sent if isinstance(shown, protocol.ReplyFrame)]
    assert [frame.first_sample for frame in frames] == list(range(0, 48_000, 960))
    resumed_ms = next(at for at, shown in wire.sent if isinstance(shown, protocol.Resume))
    ahead = [f.first_sample / 24 - 500 - (at - resumed_ms) for at, f in wire.sent[count + 1 :] if hasattr(f, "pcm")]
    assert max(ahead) <= 241
    await wire.close()


@virtual_time
async def test_a_fast_synthesiser_is_held_back():
    """No more than 20 s of audio wait here."""
    wire = Wire()
    wire.outbox.begin(1, 1)
    filling = asyncio.create_task(wire.outbox.audio(1, tone(24_000 * 30)))
    await asyncio.sleep(1)
    assert not filling.done()
    wire.outbox.drop(1)
    await asyncio.sleep(0.1)
    assert filling.done()
    await wire.close()


@virtual_time
async def test_a_browser_that_takes_nothing():
    """The control queue is bounded, and so is each send."""

    async def stuck(_):
        await asyncio.Event().wait()

    wire = Wire()
    wire.outbox._send = stuck
    with pytest.raises(Overflow):
        for number in range(MAX_CONTROL + 1):
            wire.outbox.put(protocol.Ping(id=number))
    with pytest.raises(TimeoutError):
        await wire.task


# ------------------------------------------------------------------------------------------ the log
def test_the_log_keeps_levels_and_secrets(capsys):
    """Lines are JSON; a level hides what is below; a defect has its place, without what was in its variables."""
    log = RecordLog(
        settings_for_tests(log_format="json", log_level="warning", openai_api_key="sk-canary", backend="auto")
    )
    log.start()
    log.event("hidden")
    log.warning("shown", why="x")
    try:
        secret = "sk-canary"
        raise RuntimeError("broke" if secret else "")
    except RuntimeError as error:
        log.failure("failed", error)
    assert log.close()
    out = capsys.readouterr().out
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["event"] for line in lines] == ["shown", "failed"]
    assert lines[1]["exception"][0]["exc_type"] == "RuntimeError"
    assert "sk-canary" not in out


# ------------------------------------------------------------------------------------------ the command line
def run(*arguments, **environment):
    """Run a command."""
    return CliRunner().invoke(main, list(arguments), env={"OPENAI_API_KEY": None, "PORT": None, **environment})


def test_diagram():
    """It prints the diagram."""
    assert run("diagram").output == diagram()


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["serve", "--port", "99999"], {}, "port: Input should be less than or equal to 65535"),
        (["serve"], {"PORT": "x"}, "PORT: Input should be a valid integer"),
        (["serve", "--pause-ms", "2000"], {}, "pause_ms must not exceed endpoint_ms"),
        (["serve", "--backend", "openai"], {}, "needs a key: set OPENAI_API_KEY"),
    ],
)
def test_wrong_options(arguments, environment, said):
    """A setting that cannot be is one sentence and exit code 2."""
    ran = run(*arguments, **environment)
    assert ran.exit_code == 2
    assert said in ran.output
    assert ran.output.startswith("voiceagent: ")
    assert len(ran.output.splitlines()) == 1


def test_twin_with_a_bad_script(tmp_path):
    """A script that cannot be read, or has a wrong field, is one sentence."""
    bad = tmp_path / "script.json"
    for text, said in (("{", "cannot be read"), ('{"surprise": 1}', "a field that no script has")):
        bad.write_text(text)
        ran = run("twin", "--port", "0", "--script", str(bad))
        assert ran.exit_code == 1
        assert said in ran.output


def test_doctor(capsys):
    """Local mode is well where the engines are installed; a server that is not there is named, and is to be fixed."""
    code = doctor.run(settings_for_tests(), as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert code == any(line["result"] == "bad" for line in report)
    assert {"Python", "packages", "local engines", "Speech to text"} <= {line["what"] for line in report}
    settings = settings_for_tests(
        backend="openai", openai_api_key="sk-canary", openai_base_url="http://127.0.0.1:1/v1", tts_model="tts-1"
    )
    assert doctor.run(settings, as_json=True) == 1
    out = capsys.readouterr().out
    assert "The language model at 127.0.0.1:1 cannot be reached: nothing listens there." in out
    assert "tts-1 will be shut down" in out or "tts-1 was shut down" in out
    assert "sk-canary" not in out
    doctor.run(settings_for_tests())
    assert "Python" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------ the benchmark's table
def test_the_benchmark_table():
    """Figures become rows with their command; a full core is said to be one; the README's marks stay."""
    from voiceagent.bench import table, with_table
    from voiceagent.bench.processes import cut_loud

    cost = {"cpu_percent_of_a_core_per_session": 2.0, "rss_mb_per_session": 3.9, "rss_mb": 300}
    rows = table({"load": {"1": cost, "50": cost}, "start": {"ready_ms": 500, "import_ms": 9.5}})
    assert rows.splitlines()[2] == (
        "| cost of a session, 1 at a time, talking without a rest | 2.0 % of a core, 3.9 MB | `voiceagent bench load` |"
    )
    assert "the core is full" in rows.splitlines()[3]
    text = "a\n<!-- bench -->\nold\n<!-- /bench -->\nb\n"
    assert with_table(text, rows) == f"a\n<!-- bench -->\n{rows}<!-- /bench -->\nb\n"
    assert cut_loud(tone(2400) + bytes(4800)) == tone(2400)
