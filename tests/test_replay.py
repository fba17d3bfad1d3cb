"""A log is put to the machine again: what it really did replays, and one changed word is found by its line."""

import json
import re

import pytest
from click.testing import CliRunner

from tests.log_lines import STEPS, session_lines, step_line
from tests.transcript import FOLDER, play
from voiceagent import effects
from voiceagent.cli import main
from voiceagent.latency.reading import Reading, records
from voiceagent.replay import Difference, Gap, Replayed, replay
from voiceagent.simulation.lines import as_written
from voiceagent.simulation.run import simulate
from voiceagent.states import TABLE, Leaf, Rulebook, Trigger
from voiceagent.timeline import TransitionRecord

STEP = re.compile(r"    -> (\w+) --(\w+)--> (\w+)")


def replayed(lines, book=None):
    """What the replay says of these lines but the steps that agree, and what it counted."""
    done = Replayed()
    found = records("log", ["".join(lines).encode()], Reading())
    return [str(each) for each in replay(found, done, book) if isinstance(each, Gap | Difference)], done


def test_a_session():
    """Each of its steps agrees."""
    told, done = replayed(session_lines())
    assert told == []
    assert (done.transitions, done.sessions, done.gaps) == (len(STEPS), 1, 0)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.txt")), ids=lambda path: path.stem)
def test_golden_transcripts_replay(path):
    """What the conversation does in them is what the table says."""
    steps = STEP.findall(play(path.read_text(encoding="utf-8")))
    told, done = replayed(step_line(seq, *step) for seq, step in enumerate(steps, 1))
    assert told == []
    assert done.transitions == len(steps) > 0


@pytest.mark.parametrize("seed", [3, 7, 11])
def test_simulated_sessions_replay(seed):
    """Drawn sessions, one after the other under the same name: each begins with 1."""
    entries = simulate(seed, 60.0, kept=None).entries
    steps = [what.record for _, _, what in entries if isinstance(what, effects.Record)]
    lines = [json.dumps(as_written(step)) + "\n" for step in steps if isinstance(step, TransitionRecord)]
    told, done = replayed(lines)
    assert told == []
    assert done.transitions == len(lines) > 20


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"to": "listening"}, "'to' should be thinking, but is listening"),
        ({"to": "somewhere"}, "'to' should be thinking, but is somewhere"),
        ({"trigger": "unclear", "to": "speaking"}, "'to' should be thinking, but is speaking"),
        (
            {"trigger": "first_frame"},
            "'trigger' should be one that is allowed in transcribing_ended, but is first_frame",
        ),
        ({"trigger": "magic"}, "'trigger' should be one of the machine's, but is magic"),
        ({"from": "speaking"}, "'from' should be transcribing_ended, but is speaking"),
        ({"seq": 3}, "'seq' should be 4, but is 3"),
    ],
)
def test_one_changed_word(change, expected):
    """It is told with file, line, session, number and trigger; what comes after it is not looked at."""
    lines = session_lines()
    lines[3] = json.dumps(json.loads(lines[3]) | change) + "\n"
    told, done = replayed(lines)
    step = json.loads(lines[3])
    assert told == [f"log:4: session aaa, seq {step['seq']}, trigger {step['trigger']}: {expected}"]
    assert done.transitions == 3


def test_a_changed_table_is_found_by_an_old_log():
    """So a production log is a regression test."""
    table = tuple(
        (leaf, trigger, Leaf.LISTENING if trigger is Trigger.TEXT_READY else to) for leaf, trigger, to in TABLE
    )
    told, _ = replayed(session_lines(), Rulebook(table))
    assert told == ["log:4: session aaa, seq 4, trigger text_ready: 'to' should be listening, but is thinking"]


def test_gaps_are_told_and_passed_over():
    """Where records are missing the state is taken from where the log goes on."""
    lines = session_lines()
    told, done = replayed([*lines[1:3], *lines[5:]])
    assert told == ["log:1: session aaa begins with seq 2", "log:3: session aaa: seq 4 to 5 are missing"]
    assert (done.gaps, done.transitions) == (2, 4)


def test_interleaved_sessions_and_a_session_that_is_resumed():
    """Each has its own state; a name that comes again begins anew."""
    one, other = session_lines(), session_lines(session="bbb")
    told, done = replayed([*(line for pair in zip(one, other, strict=True) for line in pair), *one])
    assert (told, done.sessions, done.transitions) == ([], 3, 21)


# ------------------------------------------------------------------------------------------ the command
def command(*words):
    """Run it."""
    ran = CliRunner().invoke(main, ["replay", *map(str, words)])
    assert ran.exception is None or isinstance(ran.exception, SystemExit)
    return ran.exit_code, ran.stdout, ran.stderr


@pytest.fixture
def log(tmp_path):
    """A log of two sessions, with a line that is none."""
    path = tmp_path / "log.jsonl"
    path.write_text("".join([*session_lines(), "rubbish\n", *session_lines(session="bbb")]))
    return path


def test_the_transcript(log):
    """One line a step, and a last one; what is wrong in the log is told beside it."""
    code, out, err = command(log)
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 15)
    assert lines[0].split(None, 4)[2:] == ["aaa", "1", "listening --voice_on--> transcribing_open after 1,000 ms"]
    assert lines[1].endswith("transcribing_open --pause--> stays")
    assert lines[-1] == "14 transitions of 2 sessions replay"
    assert ":8: no JSON object" in err


def test_one_session_and_none(log):
    """The transcript may be of one session, or left out."""
    assert len(command(log, "--session", "bbb")[1].splitlines()) == 8
    assert command(log, "--quiet")[1] == "14 transitions of 2 sessions replay\n"


def test_exit_codes(log, tmp_path):
    """0: all replays; 1: a line differs; 2: there is nothing to replay."""
    changed = tmp_path / "changed"
    changed.write_text(log.read_text().replace('"to": "speaking"', '"to": "thinking"'))
    code, _, err = command(changed, "--quiet")
    assert code == 1
    assert f"{changed}:5: session aaa, seq 5, trigger first_frame: 'to' should be speaking, but is thinking" in err
    empty = tmp_path / "empty"
    empty.write_text("")
    for wrong, sentence in ((empty, "there is no transition to replay in"), (tmp_path / "none", "cannot read")):
        code, _, err = command(wrong)
        assert code == 2
        assert sentence in err
    assert command()[0] == 2
