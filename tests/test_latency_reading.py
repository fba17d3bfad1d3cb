"""Logs as they come: broken, foreign, packed, huge, growing; what cannot be used is counted and named, never raised."""

import gzip
import json
import random

import pytest

from tests.log_lines import session_lines, step_line, turn_line
from voiceagent.latency.lines import BLOCK, LONGEST_LINE, Unreadable, grown, lines
from voiceagent.latency.reading import TOLD, Reading, read, records


def taken(*texts, **wanted):
    """The records of a log of these pieces, and what was met."""
    reading = Reading()
    blocks = [text if isinstance(text, bytes) else text.encode() for text in texts]
    return list(records("log", blocks, reading, **wanted)), reading


def wrong(reading):
    """The lines that are named."""
    return [str(each) for each in reading.first_wrong]


def test_a_log():
    """Turns and transitions are read; events of the server are counted, empty lines are nothing."""
    found, reading = taken(turn_line(), *session_lines(), '{"event": "session_began"}\n', "\n", "  \n")
    assert [found[0].record.gap_ms, found[1].record.seq, found[1].line] == [680, 1, 2]
    assert (reading.lines, reading.turns, reading.transitions, reading.others, reading.bad) == (11, 1, 7, 1, 0)
    assert reading.summary() == ""


@pytest.mark.parametrize(
    "text",
    [
        '{"schema": "voice.page/1", "fields_of": ["voice.turn/1"], "turns": []}',
        '{\n "schema": "voice.page/1",\n "turns": []\n}\n',
    ],
)
def test_what_the_page_exports_is_no_log(text):
    """It has less than a log, which one sentence says; a log whose texts speak of it is a log."""
    with pytest.raises(Unreadable, match="log is what the page exported, .*: give the server's log"):
        taken(text)
    assert taken(turn_line(content={"user": '"schema": "voice.page/1"'}))[1].turns == 1


def test_fields_of_a_later_log_are_ignored_and_those_of_an_older_one_absent():
    """Within a version fields are only added."""
    found, reading = taken(turn_line(colour="red"))
    assert reading.bad == 0
    assert (found[0].record.llm, found[0].record.mode, found[0].record.due) == (None, "cascade", {})


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (turn_line()[:700] + "\n", "EOF while parsing"),
        (turn_line()[:300] + turn_line(), "expected"),
        (turn_line().rstrip() + turn_line(), "trailing characters"),
        (turn_line(gap_ms=-1), "gap_ms: Input should be greater than or equal to 0"),
        (turn_line(gap_ms="a secret"), "gap_ms: Input should be a valid number"),
        (turn_line(gap_ms=float("inf")), "gap_ms: Input should be a finite number"),
        (turn_line(gap_ms=float("nan")), "gap_ms: Input should be"),
        (turn_line(session="x").replace('"x"', '"\\ud800"'), "unexpected end of hex escape at column 124"),
        (turn_line(outcome="lost"), "outcome: Input should be"),
        ("what a line\n", "no JSON object"),
        ('{"event": "session_be\n', "no JSON object"),
        (turn_line().encode().replace(b"neutral", b"neu\xfftral"), "unicode"),
        (bytes(range(128, 256)) + b"\n", "no JSON object"),
        ("\x00\x00\x00\n", "no JSON object"),
    ],
)
def test_a_bad_line(line, reason):
    """It is counted and named with why, without its content; the lines around it are read."""
    line = line if isinstance(line, bytes) else line.encode()
    found, reading = taken(turn_line(), line, turn_line(turn=2))
    assert [each.record.turn for each in found] == [1, 2]
    assert (reading.bad, reading.foreign) == (1, 0)
    (told,) = wrong(reading)
    assert told.startswith("log:2: ")
    assert reason in told
    assert "secret" not in told
    assert reading.summary() == "1 bad of 3 lines were left out"


def test_another_version():
    """It is told apart from what is broken."""
    found, reading = taken(
        turn_line(schema="voice.turn/2"), step_line(1, "a", "b", "c").replace("transition/1", "transition/9")
    )
    assert found == []
    assert (reading.bad, reading.foreign) == (0, 2)
    assert wrong(reading) == [
        "log:1: schema 'voice.turn/2' is not known", "log:2: schema 'voice.transition/9' is not known",
    ]  # fmt: skip


def test_what_only_mentions_a_schema():
    """An event of the server whose text names one is no record."""
    _, reading = taken(json.dumps({"event": "wire", "text": "voice.turn/1"}) + "\n")
    assert (reading.others, reading.bad) == (1, 0)


def test_what_a_collector_puts_before_a_line():
    """Names of containers and times are passed over."""
    found, reading = taken("agent-1  | " + turn_line())
    assert (len(found), reading.bad) == (1, 0)


def test_only_the_first_bad_lines_are_named():
    """The others are counted."""
    _, reading = taken("rubbish\n" * 50)
    assert (reading.bad, len(reading.first_wrong)) == (50, TOLD)


def test_control_characters_are_not_told_on():
    """Neither a file's name nor a schema reaches the terminal as orders to it."""
    reading = Reading()
    list(records("a\x1b[2Jb", [turn_line(schema="voice.turn/\x1b[31m").encode()], reading))
    assert "\x1b" not in wrong(reading)[0]


def test_what_is_not_wanted_is_counted_unread():
    """Transitions are not parsed for figures of turns, but a broken one is seen."""
    found, reading = taken(*session_lines(), session_lines()[0][:80] + "\n", turn_line(), transitions=False)
    assert (len(found), reading.transitions, reading.turns, reading.bad) == (1, 7, 1, 1)
    found, reading = taken(*session_lines(), turn_line(), turns=False)
    assert (len(found), reading.transitions, reading.turns) == (7, 7, 1)


def split(*blocks):
    """Lines of these blocks."""
    return list(lines(blocks))


def test_lines_are_split_wherever_blocks_end():
    """A line may be in many blocks and a block may have many lines."""
    text = b"one\ntwo\n\nthree\r\nfour"
    whole = [b"one", b"two", b"", b"three\r", b"four"]
    assert split(text) == whole
    assert split(*(text[at : at + 1] for at in range(len(text)))) == whole
    assert split(text + b"\n") == whole
    assert split() == []


def test_a_line_without_end():
    """Of 100 MB nothing is kept; what follows is read."""
    kept = []

    def endless():
        for _ in range(100_000_000 // BLOCK):
            yield b"x" * BLOCK
            kept.append(len(b""))
        yield b"x\nnext\n"

    assert split(*[b"first\n"], *endless())[:3] == [b"first", None, b"next"]
    assert split(b"x" * BLOCK * (LONGEST_LINE // BLOCK + 1)) == [None]
    assert split(b"x" * BLOCK * (LONGEST_LINE // BLOCK - 1), b"y") == [b"x" * (LONGEST_LINE - BLOCK) + b"y"]
    found, reading = taken(*[b"x" * BLOCK] * 8, b"\n", turn_line())
    assert (len(found), wrong(reading)) == (1, ["log:1: longer than a record may be"])


# ------------------------------------------------------------------------------------------ files
def from_file(path):
    """The records of a file, and what was met."""
    reading = Reading()
    return list(read([str(path)], reading)), reading


def test_a_gzipped_file(tmp_path):
    """Whatever its name; several members one after the other too."""
    path = tmp_path / "log.jsonl"
    path.write_bytes(gzip.compress(turn_line().encode()) + gzip.compress(turn_line(turn=2).encode()))
    found, reading = from_file(path)
    assert ([each.record.turn for each in found], reading.bad) == ([1, 2], 0)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda packed: packed[: len(packed) // 2], "ends in the middle"),
        (lambda packed: packed + b"rubbish", "is broken here"),
        (lambda packed: packed[:-1], "ends in the middle"),
    ],
)
def test_a_broken_gzipped_file(tmp_path, broken, why):
    """What came before the break stands, and the break is told with its line."""
    draw = random.Random(1)
    text = "".join(turn_line(turn=turn, session=draw.randbytes(600).hex()) for turn in range(1, 2_001))
    path = tmp_path / "log.gz"
    path.write_bytes(broken(gzip.compress(text.encode())))
    found, reading = from_file(path)
    assert len(found) > 500
    assert wrong(reading)[-1].endswith(f":{len(found) + reading.bad}: the gzipped file {why}")


def test_a_file_that_is_not_there(tmp_path):
    """One sentence."""
    with pytest.raises(Unreadable, match="cannot read .*none: No such file or directory"):
        from_file(tmp_path / "none")
    with pytest.raises(Unreadable, match="Is a directory"):
        from_file(tmp_path)


def test_small_files(tmp_path):
    """Nothing, and one byte."""
    path = tmp_path / "log"
    path.write_bytes(b"")
    assert from_file(path)[1].lines == 0
    path.write_bytes(b"\x1f")
    assert wrong(from_file(path)[1]) == [f"{path}:1: no JSON object"]


# ------------------------------------------------------------------------------------------ growing
def following(path, *events):
    """Follow a file; each time its end is reached the next event happens, and after the last one it is over."""
    left = list(events)

    def wait():
        if not left:
            return False
        left.pop(0)()
        return True

    return [line for line in lines(grown(str(path), wait)) if line]


def test_what_is_appended_is_read(tmp_path):
    """Also where a line is written in two pieces."""
    path = tmp_path / "log"
    path.write_text("one\n")
    with path.open("a") as log:

        def add(text):
            return lambda: (log.write(text), log.flush())

        assert following(path, add("two\nth"), add("ree\n"), lambda: None, add("four\n")) == [
            b"one",
            b"two",
            b"three",
            b"four",
        ]


def test_rotation(tmp_path):
    """What was written before the file was moved away is read, then the new one from its beginning."""
    path = tmp_path / "log"
    path.write_text("one\n")

    def rotate():
        with path.open("a") as log:
            log.write("two\nbroken of")
        path.rename(tmp_path / "log.1")

    def begin():
        path.write_text("three\n")

    assert following(path, rotate, lambda: None, begin, lambda: None) == [b"one", b"two", b"broken of", b"three"]


def test_truncation(tmp_path):
    """A file that has become shorter is read from its beginning."""
    path = tmp_path / "log"
    path.write_text("one\ntwo\n")
    assert following(path, lambda: path.write_text("new\n"), lambda: None) == [b"one", b"two", b"new"]


def test_following_nothing(tmp_path):
    """There must be a file to begin with."""
    with pytest.raises(Unreadable, match="No such file"):
        following(tmp_path / "none")


def test_interleaved_sessions():
    """Lines of several sessions may come in any order between them."""
    both = [line for pair in zip(session_lines(), session_lines(session="bbb"), strict=True) for line in pair]
    found, _ = taken(*both)
    assert [each.record.session for each in found] == ["aaa", "bbb"] * 7


def test_read_in_order(tmp_path):
    """Several files, one after the other, each with its own line numbers."""
    for number in (1, 2):
        (tmp_path / str(number)).write_text(turn_line(turn=number))
    found = list(read([str(tmp_path / "1"), str(tmp_path / "2")], Reading()))
    assert [(each.record.turn, each.line) for each in found] == [(1, 1), (2, 1)]
