"""What a log comes to: exact numbers on given records, percentiles in bounded memory, comparison, and the command."""

import json
import math
import os
import random
import re
import select
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from tests.log_lines import SEGMENTS, session_lines, step_line, turn, turn_line
from voiceagent.bench.latency_log import SESSIONS, TURNS, latency_log, latency_rows
from voiceagent.cli import main
from voiceagent.latency import against
from voiceagent.latency.reckoning import GROUPINGS, LONGEST_NAME, MOST_NAMES, REST, Reckoning, figures
from voiceagent.latency.spread import ERROR, EXACT, Spread
from voiceagent.latency.tables import one_turn
from voiceagent.latency.timelines import KEPT, Stay, Timelines
from voiceagent.records import TransitionLine


def spread(*lengths):
    """A spread of these."""
    whole = Spread()
    for length in lengths:
        whole.add(length)
    return whole


def test_percentiles_by_nearest_rank():
    """A percentile is one of the lengths."""
    ten = spread(*range(10, 110, 10))
    assert [ten.percentile(percent) for percent in (0, 10, 50, 90, 95, 99, 100)] == [10, 10, 50, 90, 100, 100, 100]
    assert (ten.count, ten.mean_ms, ten.least_ms, ten.most_ms, ten.exact) == (10, 55, 10, 100, True)
    assert spread().percentile(50) == 0
    assert spread(7).percentile(99) == 7


def test_many_lengths_take_no_more_memory_and_keep_their_percentiles():
    """Beyond a few thousand a percentile is off by half a percent at most; nothing and the extremes are exact."""
    draw = random.Random(1)
    lengths = [0.0, 1e9, *(draw.lognormvariate(6, 1) for _ in range(3 * EXACT)), *[0.0] * EXACT]
    many = spread(*lengths)
    ordered = sorted(lengths)
    assert not many.exact
    assert len(many._kept) <= EXACT
    assert (many.percentile(0), many.percentile(20), many.percentile(100)) == (0, 0, 1e9)
    for percent in (26, 50, 75, 90, 95, 99, 99.9):
        true = ordered[math.ceil(percent / 100 * len(ordered)) - 1]
        assert abs(many.percentile(percent) - true) <= ERROR * true * (1 + 1e-9)


def test_bins():
    """Lengths are counted from each edge up to the next; the last bin has its upper edge."""
    assert spread(0, 5, 10, 19, 20).bins([0, 10, 20]) == [2, 3]
    many = spread(*[5.0] * (EXACT + 1), *[15.0] * EXACT)
    assert many.bins([0, 10, 20]) == [EXACT + 1, EXACT]


def reckoned(*turns, **wish):
    """The figures of these turns."""
    taken = Reckoning(**wish)
    for record in turns:
        taken.take(record)
    return taken


def test_figures():
    """Percentiles of the gap and of each segment, shares of segments and components, and what else happened."""
    slow = turn(
        turn=2, gap_ms=1000.0, segments_ms={**SEGMENTS, "llm_ttft": 320.0}, hidden_ms=60.0, outcome="interrupted",
        speculation={"tries": 2, "hit": False, "saved_ms": 0, "wasted_tokens": 7, "wasted_characters": 30},
        barge_ins=[{"over": "speaking", "hold_ms": 60, "verdict": "confirmed", "reason": "words", "verdict_ms": 400,
                    "resume_ms": None, "yield_ms": 450}],
        faults=[{"stage": "tts", "code": "slow", "recovered": True}], timestamp="2026-11-29T11:00:00Z",
    )  # fmt: skip
    gone = turn(turn=3, gap_ms=None, basis=None, segments_ms={}, hidden_ms=None, outcome="discarded")
    told = figures(reckoned(turn(), slow, gone, slowest=1, by="outcome"))
    assert (told["turns"], told["answered"], told["bases"]) == (3, 2, {"heard": 2})
    assert told["gap"] == {
        "count": 2, "mean_ms": 840, "p50_ms": 680, "p90_ms": 1000, "p95_ms": 1000, "p99_ms": 1000, "exact": True,
    }  # fmt: skip
    assert told["segments"]["llm_ttft"]["mean_ms"] == 160
    assert told["segments"]["endpoint_wait"]["share"] == round(1000 / 1680, 4)
    assert told["components"] == {
        "endpointing": round(1000 / 1680, 4), "llm": round(320 / 1680, 4), "tts": round(160 / 1680, 4),
        "browser": round(126 / 1680, 4), "network": round(70 / 1680, 4), "agent": round(4 / 1680, 4), "stt": 0,
    }  # fmt: skip
    assert told["outcomes"] == {"completed": 1, "interrupted": 1, "discarded": 1}
    assert told["groups"]["interrupted"]["p50_ms"] == 1000
    assert told["groups"]["discarded"] == {
        "turns": 1, "count": 0, "mean_ms": 0, "p50_ms": 0, "p90_ms": 0, "p95_ms": 0, "p99_ms": 0, "shares": {},
    }  # fmt: skip
    assert [(each["turn"], each["gap_ms"]) for each in told["slowest"]] == [(2, 1000)]
    assert told["speculation"] == {"tries": 4, "hits": 2, "saved_ms": 600, "wasted_tokens": 7}
    assert (told["barge_ins"]["verdicts"], told["barge_ins"]["yield"]["p50_ms"]) == ({"confirmed": 1}, 450)
    assert told["faults"] == {"tts:slow": 1}
    assert (told["from"], told["to"]) == ("2026-11-29T09:00:00.000000Z", "2026-11-29T11:00:00Z")


def test_groupings():
    """By models, states, outcome, hour, mode and origin; older records name no models."""
    llm = {"host": "h", "model": "m", "tokens_in": 1, "tokens_out": 1, "tokens_cached": 0, "finish": "", "attempts": 1}
    stt = {"host": "h", "model": "s", "audio_ms": 1, "items": 1, "retries": 0}
    record = turn(llm=llm, stt=stt, mode="realtime")
    assert {name: key(record) for name, key in GROUPINGS.items()} == {
        "model": "s + m", "path": "transcribing > thinking > speaking > listening", "outcome": "completed",
        "hour": "2026-11-29 09:00", "mode": "realtime", "origin": "user",
    }  # fmt: skip
    assert GROUPINGS["model"](turn()) == "not recorded"


def test_groups_are_bounded():
    """A log cannot make more of them than there is room for."""
    taken = reckoned(*(turn(timestamp=f"{year}-01-01T00:00:00Z") for year in range(1000, 1300)), by="hour")
    assert (len(taken.groups), taken.groups[REST].turns) == (101, 200)


def test_names_are_bounded():
    """Nor can it fill the memory with names of segments, components and faults, however long."""
    taken = Reckoning()
    for number in range(200):
        name = f"{number}" if number % 2 else "x" * 1000 + str(number)
        fault = {"stage": "llm", "code": name, "recovered": True}
        taken.take(turn(segments_ms={name: 1.0}, due={name: name}, faults=[fault]))
    for names in (taken.segments, taken.all.components_ms, taken.faults):
        assert len(names) <= MOST_NAMES + 1
        assert max(map(len, names)) <= LONGEST_NAME
    assert taken.all.components_ms[REST] == 200 - (MOST_NAMES - 1)


def test_the_slowest_come_first_and_equal_ones_as_they_came():
    """They are kept in a heap of so many."""
    taken = reckoned(*(turn(turn=number, gap_ms=float(number % 4)) for number in range(1, 12)), slowest=4)
    assert [(record.turn, record.gap_ms) for record in taken.slowest] == [(3, 3), (7, 3), (11, 3), (2, 2)]
    assert reckoned(turn(), slowest=0).slowest == []


# ------------------------------------------------------------------------------------------ comparison
def drawn(*gaps):
    """A sample of turns with these gaps."""
    sample = against.Drawn()
    for gap_ms in gaps:
        sample.take(turn(gap_ms=float(gap_ms)))
    return sample


def test_slower_faster_and_neither():
    """A difference is told from chance by its interval."""
    draw = random.Random(1)
    usual, again_ = ([draw.gauss(800, 100) for _ in range(400)] for _ in range(2))
    for change, verdict in ((150, "slower"), (-150, "faster")):
        found = against.differences(drawn(*usual), drawn(*(gap + change for gap in again_)))
        median = found[0]
        assert (median.name, median.percent, median.verdict) == ("gap", 50, verdict)
        assert median.low_ms < change < median.high_ms
    same = against.differences(drawn(*usual), drawn(*again_))
    assert {each.verdict for each in same} == {"no difference shown"}
    assert [each.name for each in same].count("gap") == 4
    assert against.regressions(same, 0) == []
    slower = against.differences(drawn(*usual), drawn(*(gap + 150 for gap in again_)))
    assert [each.percent for each in against.regressions(slower, 50)] == [50, 95]
    assert against.regressions(slower, 400) == []


def test_too_few_turns_say_nothing():
    """Ten of each are the least."""
    assert against.differences(drawn(*range(9)), drawn(*range(100))) == []


def test_a_sample_is_fair_and_bounded():
    """Of more turns than are kept each is kept as likely."""
    sample = against.Drawn()
    for gap_ms in range(3 * against.KEPT):
        sample.take(BARE.model_copy(update={"gap_ms": gap_ms}))
    kept = sample.lengths("gap")
    assert (sample.seen, len(kept)) == (3 * against.KEPT, against.KEPT)
    assert abs(kept.mean() - 1.5 * against.KEPT) < 0.02 * 1.5 * against.KEPT


BARE = turn(segments_ms={})


# ------------------------------------------------------------------------------------------ timelines
def steps(session, gap_ms=None):
    """The records of a session."""
    records = [TransitionLine.model_validate_json(line) for line in session_lines(session=session)]
    return records if gap_ms is None else [*records, turn(session=session, gap_ms=gap_ms)]


def test_a_timeline():
    """The states that everyone sees, one after the other, from the first record on."""
    timelines = Timelines()
    for record in steps("aaa", 680.0):
        timelines.take(record)
    (session,) = timelines.worth_a_look()
    assert session.stays()[:3] == [
        Stay("listening", 0, 1000),
        Stay("transcribing", 1000, 3000),
        Stay("transcribing", 3000, 4000),
    ]
    assert (session.turns, session.longest_gap_ms) == (1, 680)


def test_timelines_are_bounded():
    """Of many sessions those with the longest gaps are kept."""
    timelines = Timelines()
    for number in range(5 * KEPT):
        for record in steps(f"s{number}", float(number == 3)):
            timelines.take(record)
    assert len(timelines.sessions) <= KEPT
    assert timelines.worth_a_look()[0].name == "s3"
    assert timelines.seen == 5 * KEPT


# ------------------------------------------------------------------------------------------ the command
def command(*words):
    """Run it; return its exit code, output and errors."""
    ran = CliRunner().invoke(main, list(map(str, words)))
    assert ran.exception is None or isinstance(ran.exception, SystemExit)
    return ran.exit_code, ran.stdout, ran.stderr


def process(*words, stdin=b"", **environment):
    """Run it as a user does."""
    ran = subprocess.run(
        [sys.executable, "-m", "voiceagent.cli", *map(str, words)], input=stdin, capture_output=True, check=False,
        env=os.environ | environment,
    )  # fmt: skip
    return ran.returncode, ran.stdout.decode(), ran.stderr.decode()


@pytest.fixture
def log(tmp_path):
    """A log of one session with 20 turns."""
    turns = [
        turn_line(turn=number, gap_ms=600.0 + 10 * number, pauses_ms=[310], pause_waits_ms=[500])
        for number in range(1, 21)
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join([*session_lines(), *turns, "rubbish\n"]))
    return path


def test_tables(log):
    """The gap, its segments, groups, the slowest, what if; and what was left out, on standard error."""
    code, out, err = command("latency", log, "--by", "outcome", "--what-if", "endpoint=300", "--slowest", 2)
    assert code == 0
    assert re.search(r"response gap +700 +780 +790 +800 +20", out)
    assert "endpoint wait 500 -> 300 ms (median): 20 of 20 turns would have been cut off" in out
    assert out.count("aaa #") == 2
    assert "1 bad of 28 lines were left out" in err
    assert ":28: no JSON object" in err


def test_json_and_standard_input(log):
    """The same figures for a program; a log may come by a pipe."""
    code, out, _ = process("latency", "-", "--json", stdin=log.read_bytes())
    told = json.loads(out)
    assert (code, told["gap"]["p50_ms"], told["reading"]["bad"]) == (0, 700, 1)
    assert told["reading"]["first_wrong"] == [{"file": "standard input", "line": 28, "reason": "no JSON object"}]


def test_against(log, tmp_path):
    """A log that is slower than allowed ends the command with 1."""
    slower = tmp_path / "slower"
    slower.write_text(log.read_text().replace('"gap_ms": 6', '"gap_ms": 9').replace('"gap_ms": 7', '"gap_ms": 9'))
    assert command("latency", slower, "--against", log)[0] == 0
    assert command("latency", slower, "--against", log, "--fail-above-ms", 50)[0] == 1
    assert command("latency", log, "--against", slower, "--fail-above-ms", 50)[0] == 0
    assert command("latency", slower, "--against", log, "--fail-above-ms", 500)[0] == 0
    told = json.loads(command("latency", slower, "--against", log, "--json")[1])["against"]
    assert (told["old_turns"], told["differences"][0]["verdict"]) == (20, "slower")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("none",), "cannot read none: No such file or directory"),
        (("LOG", "--what-if", "endpoint=soon"), "endpoint=soon is neither milliseconds"),
        (("LOG", "--fail-above-ms", "5"), "--fail-above-ms says how much slower"),
        (("LOG", "--against", "none"), "cannot read none"),
        (("LOG", "LOG", "--follow"), "one log can be followed at a time"),
        (("LOG", "--follow", "--against", "LOG"), "it has no end"),
        (("-", "-"), "standard input can be read once"),
        (("LOG", "--html", "/none/page.html"), "cannot write"),
        (("EMPTY",), "there is no turn in"),
        ((), "Missing argument"),
    ],
)
def test_bad_usage(log, tmp_path, words, sentence):
    """A sentence, and exit code 2."""
    (tmp_path / "empty").write_bytes(bytes(100))
    given = [{"LOG": log, "EMPTY": tmp_path / "empty"}.get(word, word) for word in words]
    code, _, err = command("latency", *given)
    assert code == 2
    assert sentence in err


def test_a_terminal_of_few_letters(log):
    """It gets question marks for bars."""
    code, out, _ = process("latency", log, PYTHONIOENCODING="ascii")
    assert code == 0
    assert "????" in out


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk to write to")  # noqa: PTH110 - a device
@pytest.mark.parametrize("words", [("latency",), ("latency", "--json"), ("replay",)], ids=" ".join)
def test_a_full_disk(log, words):
    """What cannot be written is told in a sentence, at the end of what was printed, too."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        command = [sys.executable, "-m", "voiceagent.cli", *words, str(log)]
        ran = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert (ran.returncode, ran.stderr.decode().splitlines()[-1]) == (
        2, "voiceagent: cannot write: No space left on device",
    )  # fmt: skip


@pytest.mark.parametrize("path", ["LOG", "-"])
def test_the_page_does_not_overwrite_a_log(log, path):
    """A slip of the hand costs no log; `-` would be a file of that name."""
    before = log.read_bytes()
    code, out, err = command("latency", log, "--html", log if path == "LOG" else "-")
    assert (code, out, log.read_bytes()) == (2, "", before)
    assert "--html needs a file of its own" in err


def test_following(log):
    """Turns are told as they are written, one a line; those that were there before are in the tables at the end."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    words = [sys.executable, "-m", "voiceagent.cli", "latency", str(log), "--follow", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as running:
        told = b""
        with log.open("a") as more:
            while not told:  # the first ones may be there before it follows
                more.write(turn_line(turn=21, gap_ms=1234.0))
                more.flush()
                told = select.select([running.stdout], [], [], 0.3)[0]
        turn_ = json.loads(running.stdout.readline())
        running.send_signal(signal.SIGINT)
        *_, last = running.stdout
    assert (turn_["turn"], turn_["gap_ms"]) == (21, 1234)
    assert json.loads(last)["turns"] > 20
    assert running.returncode == 0


def test_one_line_a_turn():
    """What is told of a turn that has just been written."""
    assert str(one_turn(turn(gap_ms=1234.0))) == (
        "09:00:00 aaa #1   1,234 ms endpoint_wait 500 · tts_ttfb 80 · playback 63"
    )
    gone = turn(gap_ms=None, segments_ms={}, outcome="discarded")
    assert str(one_turn(gone)) == "09:00:00 aaa #1     no gap discarded  "


def test_the_benchmark():
    """It writes a log whose every line is read and replays, and removes it."""
    told = latency_log(size_mb=1)
    assert (told["turns"], told["lines"]) == (SESSIONS * TURNS, SESSIONS * (8 * TURNS + 1))
    assert [row[2] for row in latency_rows(told)] == ["latency"] * 3


def test_a_page(log, tmp_path):
    """One file that loads nothing and runs nothing, with every number in it as text."""
    path = tmp_path / "page.html"
    log.write_text(
        log.read_text() + turn_line(session="<script>", gap_ms=5000.0, outcome="failed") + step_line(1, "<b>", "x", "y")
    )
    code, _, err = command(
        "latency", log, "--html", path, "--by", "model", "--what-if", "llm_ttft=-10", "--against", log
    )
    assert code == 0
    assert "is written" in err
    page = path.read_text(encoding="utf-8")
    assert "<script" not in page
    assert "<b>" not in page
    assert "&lt;script&gt;" in page
    assert "default-src 'none'" in page
    assert [name for name in ("http://", "https://", "src=", "@import", "url(") if name in page] == []
    for told in ("5,000", "not recorded", "llm_ttft=-10", "no difference shown", "listening", "no JSON object"):
        assert told in page
