"""The trace of a log: what Perfetto is given, and what a bad log does to it."""

import json
from collections import defaultdict
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tests.exported import SECRET, line, steps, turn
from tests.virtual import virtual_time
from tests.world import world
from voiceagent.cli import main
from voiceagent.exports.chrome import FRESH, Chrome
from voiceagent.timeline import TransitionRecord
from voiceagent.twin import Script


def events_of(lines):
    """All events of these lines."""
    chrome = Chrome()
    return [*(event for each in lines for event in chrome.record(each)), *chrome.end()]


def by_track(events):
    """The slices of each track, as (name, from, to) in milliseconds."""
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["ph"] == "M" and e["name"] == "thread_name"}
    found = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begins = event["ts"] / 1000
            found[names[event["pid"], event["tid"]]].append((event["name"], begins, begins + event["dur"] / 1000))
    return dict(found)


def check(events):
    """What holds for every trace: known kinds, whole microseconds, nested slices, arrows with both ends, named threads."""
    slices, named = defaultdict(list), set()
    for event in events:
        assert event["ph"] in {"M", "X", "i", "C", "s", "f"}
        if event["ph"] == "M":
            named.add((event["pid"], event["tid"]))
            continue
        assert type(event["ts"]) is int
        if event["ph"] == "X":
            assert type(event["dur"]) is int
            assert event["dur"] >= 0
            slices[event["pid"], event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
        if event["ph"] != "C":
            assert (event["pid"], event["tid"]) in named
    for spans in slices.values():
        open_ones = []
        for begins, ends in sorted(spans, key=lambda span: (span[0], -span[1])):
            while open_ones and open_ones[-1] <= begins:
                open_ones.pop()
            assert not open_ones or ends <= open_ones[-1]
            open_ones.append(ends)
    arrows = {kind: [event["id"] for event in events if event["ph"] == kind] for kind in "sf"}
    assert set(arrows["f"]) <= set(arrows["s"])
    assert len(set(arrows["s"])) == len(arrows["s"])


def test_a_session():
    """States, the turn with its segments, and the stages lie where they were, to the microsecond."""
    events = events_of([line("s1", each) for each in (*steps(), turn())])
    check(events)
    tracks = by_track(events)
    assert tracks["states"] == [
        ("listening", 0, 1064), ("transcribing_open", 1064, 1500), ("transcribing_ended", 1500, 1520),
        ("thinking", 1520, 1842), ("speaking", 1842, 2500), ("listening", 2500, 9000),
    ]  # fmt: skip
    assert tracks["turns"] == [
        ("turn 1: completed", 1000, 2500), ("response gap", 1200, 1900), ("uplink", 1200, 1210),
        ("endpoint_wait", 1210, 1500), ("stt_tail", 1500, 1520), ("queue", 1520, 1521), ("llm_ttft", 1521, 1721),
        ("clause_wait", 1721, 1761), ("tts_ttfb", 1761, 1841), ("gate_wait", 1841, 1842), ("send", 1842, 1843),
        ("network", 1843, 1853), ("playback", 1853, 1900),
    ]  # fmt: skip
    stages = {track: tracks[track] for track in ("stt", "llm", "tts", "playback")}
    assert stages == {
        "stt": [("stt ear", 1300, 1520)], "llm": [("llm gpt-x", 1521, 1760)], "tts": [("tts mouth", 1761, 1842)],
        "playback": [("playback", 1900, 2400)],
    }  # fmt: skip
    marks = [(e["name"], e["ts"]) for e in events if e["ph"] == "i" and e["cat"] == "marks"]
    assert marks[0] == ("speech_start", 1_000_000)
    assert len(marks) == 16


def step(at_ms, source, trigger, target, seq, **more):
    """One transition."""
    return TransitionRecord(seq, at_ms * 1000, 1, 1, source, trigger, target, 100_000, None, "", **more)


def test_a_barge_in_is_an_arrow():
    """From where the sound began to where its verdict led; queues and lag are counters."""
    records = [
        step(1000, "speaking", "voice_on", "barge_in_speaking", 5, inbox=2, outbox=3, loop_lag_us=1500),
        step(1200, "barge_in_speaking", "rejected", "speaking", 6),
    ]
    events = events_of([line("s1", each) for each in records])
    check(events)
    assert [(e["ph"], e["ts"], e["id"]) for e in events if e["ph"] in "sf"] == [
        ("s", 1_000_000, 1),
        ("f", 1_200_000, 1),
    ]
    counters = [(e["name"], e["args"]) for e in events if e["ph"] == "C" and e["ts"] == 1_000_000]
    assert counters == [("queues", {"inbox": 2, "outbox": 3}), ("loop lag, ms", {"lag": 1.5})]
    assert [e["name"] for e in events if e["ph"] == "i"] == ["voice_on", "rejected"]


def test_turns_at_the_same_time():
    """A sound over a reply is a turn of its own: it lies beside the other, not across it."""
    over = turn(turn=2, started_us=2_000_000, ended_us=2_600_000, marks={}, gap=None, outcome="discarded")
    events = events_of([line("s1", over), line("s1", turn())])
    check(events)
    assert {track for track in by_track(events) if track.startswith("turns")} == {"turns", "turns (2)"}


def test_lost_and_repeated_lines():
    """What is missing is shown where it is missing; the same line twice counts once; what lasts ends with the log."""
    all_of_them = [line("s1", each) for each in steps()[:6]]
    events = events_of([all_of_them[0], all_of_them[0], *all_of_them[3:5], *all_of_them[3:5]])
    check(events)
    (missing,) = [event for event in events if event["ph"] == "i" and event["name"] == "records are missing"]
    assert (missing["ts"], missing["args"]) == (1_520_000, {"from": 2, "to": 3})
    assert by_track(events)["states"] == [
        ("listening", 0, 1064), ("transcribing_ended", 1500, 1520), ("thinking", 1520, 1842),
    ]  # fmt: skip


def test_a_conversation_that_is_taken_up_again():
    """It has the same name and counts anew; nothing is missing, and nothing is taken for a repetition."""
    later = [replace(each, at_us=each.at_us + 20_000_000) for each in steps()]
    events = events_of([line("s1", each) for each in (*steps(), *later, *steps(), *later)])
    check(events)
    assert [event for event in events if event["name"] == "records are missing"] == []
    assert len(by_track(events)["states"]) == 2 * len([each for each in steps() if each.source != each.target])


def test_many_sessions():
    """Of a session long ago little is remembered, but what comes of it is still in its place."""
    chrome = Chrome()
    first = list(chrome.record(line("first", turn())))
    for number in range(FRESH + 1):
        list(chrome.record(line(f"s{number}", turn())))
    again = list(chrome.record(line("first", turn())))
    assert [event for event in first if event["ph"] != "M"] == again


@virtual_time
async def test_a_real_session():
    """A conversation with a barge-in on virtual time makes a whole trace: a slice a state, an arrow a sound."""
    story = Script(transcripts=["a story", "stop"], replies=["Once upon a time there was a long story. " * 3, "Yes."])
    async with world(story) as w:
        w.browser.speak(800)
        await w.browser.until_leaf("speaking")
        w.browser.speak(800)
        await w.browser.until_turns(1)
        await w.browser.until_leaf("speaking", 2)
    events = events_of([line("s1", record) for record in w.records])
    check(events)
    tracks = by_track(events)
    moves = [r for r in w.records if isinstance(r, TransitionRecord) and r.source != r.target]
    assert [name for name, _, _ in tracks["states"]] == [move.source for move in moves]
    assert {"llm", "tts", "stt"} <= set(tracks)
    assert len([e for e in events if e["ph"] == "s"]) == len([m for m in moves if m.target.startswith("barge_in")]) > 0


# ------------------------------------------------------------------------------------------ the command
def as_text(records, session="s1"):
    """A log of records."""
    lines = [line(session, each) for each in records]
    return "".join(each.model_dump_json(by_alias=True, exclude_none=False) + "\n" for each in lines)


def run(*arguments, given=None):
    """Run the command; it never ends with a traceback."""
    ran = CliRunner().invoke(main, ["trace", *map(str, arguments)], input=given)
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran


def test_command(tmp_path):
    """A log becomes a file that is JSON, of all sessions or of one; the terminal says what is in it and where it opens."""
    log, out = tmp_path / "log.jsonl", tmp_path / "out.json"
    log.write_text(as_text([*steps(), turn()]) + as_text([*steps(), turn()], "s2"))
    ran = run(log, "-o", out)
    assert (ran.exit_code, ran.stdout) == (0, "")
    assert ran.stderr == (
        "2 sessions, 2 turns, 14 transitions: open it in ui.perfetto.dev, which reads it in the browser, "
        "or in chrome://tracing\n"
    )
    trace = json.loads(out.read_text())
    check(trace["traceEvents"])
    assert {e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "process_name"} == {
        "session s1",
        "session s2",
    }
    only = json.loads(run(log, "--session", "s2", "-o", "-").stdout)
    assert {e["args"]["name"] for e in only["traceEvents"] if e["name"] == "process_name"} == {"session s2"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "out.json"]


def test_texts_stay_out(tmp_path):
    """A trace is for looking at times: texts do not get into it, even from a log that has them."""
    log = tmp_path / "log.jsonl"
    log.write_text(as_text([turn(content={"user": SECRET, "reply": SECRET, "heard": SECRET})]))
    assert SECRET in log.read_text()
    assert SECRET not in run(log, "-o", "-").stdout


def test_bad_lines(tmp_path):
    """Lines that are cut, mixed up or of another version are counted and named; the others make the trace."""
    log = tmp_path / "log.jsonl"
    good = as_text([*steps(), turn()])
    first = good.splitlines()[0]
    log.write_bytes(
        good.encode()
        + first[:80].encode()
        + b"\n"
        + first.replace("transition/1", "transition/9").encode()
        + b"\n\xff\x00\n"
    )
    ran = run(log, "-o", tmp_path / "out.json")
    assert ran.exit_code == 0
    assert "2 bad and 1 of another version of 11 lines were left out" in ran.stderr
    assert f"{log}:9: " in ran.stderr
    check(json.loads((tmp_path / "out.json").read_text())["traceEvents"])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("log.jsonl", "--session", "nobody"), "no record of nobody in these logs: the trace is empty"),
        (("empty", "-o", "out.json"), "no record of a session in these logs: the trace is empty"),
        (("missing",), "cannot read missing: No such file or directory"),
        (("log.jsonl", "-o", "nowhere/out.json"), "cannot write nowhere/out.json: No such file or directory"),
    ],
)
def test_what_cannot_be_done(tmp_path, monkeypatch, arguments, sentence):
    """Each trouble is one sentence and exit code 1; half a file is not left behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "log.jsonl").write_text(as_text([turn()]))
    (tmp_path / "empty").write_text("")
    ran = run(*arguments)
    assert (ran.exit_code, ran.stderr) == (1, f"voiceagent: {sentence}\n")
    assert list(tmp_path.glob("*.part")) == []


def test_standard_input():
    """`-` is standard input, and standard output."""
    ran = run("-", "-o", "-", given=as_text([turn()]))
    assert ran.exit_code == 0
    check(json.loads(ran.stdout)["traceEvents"])
