"""The simulator: what it runs holds, what is broken it finds, and one seed is one run."""

import asyncio
import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from voiceagent.cli import main
from voiceagent.heard import ReplyLedger
from voiceagent.simulation.callers import Caller
from voiceagent.simulation.command import replay
from voiceagent.simulation.loop import Stuck, VirtualLoop
from voiceagent.simulation.run import Scene, simulate
from voiceagent.simulation.script import STEP_SAMPLES, Timeline, Word, audio, steps_in, utter
from voiceagent.simulation.telling import tell
from voiceagent.states import Leaf

ROOT = Path(__file__).parents[1]


def broken(outcome):
    """What was violated, as a person would want to read it."""
    return [f"seed {outcome.seed}: {wrong.name}: {wrong.detail}" for wrong in outcome.violations]


@pytest.mark.parametrize("first", range(1, 61, 10))
def test_drawn_sessions_hold(first):
    """Nothing that must hold is violated in drawn sessions."""
    for seed in range(first, first + 10):
        assert broken(simulate(seed, 30)) == []


@pytest.mark.parametrize(
    "name", ["endless", "breathing", "machine_gun", "clock_jumps", "hanging_microphone", "barge_in"]
)
def test_bad_input(name):
    """A caller who does only this ends in a state that the table names, with bounded memory, and is answered on."""
    for seed in range(3):
        outcome = simulate(seed, 40, kept=None, scene=Scene(acts=(getattr(Caller, name),)))
        assert broken(outcome) == []
        assert outcome.leaf in set(Leaf)
        assert outcome.simulated_us >= 40_000_000


def test_an_hour_of_silence():
    """A muted microphone for an hour: one session, which is still listening, and nothing has grown."""
    settings = {"idle_s": 7_200.0, "ask_after_s": 0.0, "session_cap_s": 9_000.0, "greeting": ""}
    outcome = simulate(1, 3_500, scene=Scene(acts=(Caller.asleep,), settings=settings))
    assert broken(outcome) == []


def test_one_seed_is_one_run():
    """Two processes with other hash seeds tell the same transcript, line by line."""
    program = (
        "from voiceagent.simulation.run import simulate; from voiceagent.simulation.telling import tell\n"
        "print('\\n'.join(line for seed in (3, 7, 11) for line in tell(simulate(seed, 30, kept=None).entries)))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": number}, cwd=ROOT,
            capture_output=True, text=True, check=True,
        ).stdout
        for number in ("1", "77")
    }  # fmt: skip
    assert len(told) == 1
    assert told.pop().count("\n") > 300


def test_another_seed_is_another_run():
    """Seeds differ from each other from early on."""
    one, other = (tell(simulate(seed, 10, kept=None).entries) for seed in (1, 2))
    assert one != other


def test_a_broken_rule_is_found(monkeypatch):
    """With a history of all that was to be said the run fails, tells what came before, and how to see it again."""
    monkeypatch.setattr(ReplyLedger, "heard", lambda self, samples: self.text if samples else "")
    arguments = ["simulate", "--seeds", "4", "--seconds-per-session", "30", "--jobs", "1", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1
    figures = json.loads(result.stdout)
    assert figures["violations"] > 0
    assert "history_is_what_was_heard [DESIGN 6: history = heard; PEERS 14]" in result.stderr
    assert f"again: {replay(figures['failing_seeds'][0], 30)}" in result.stderr


def test_the_figures():
    """`--json` has these keys and no others."""
    result = CliRunner().invoke(
        main, ["simulate", "--seeds", "2", "--seconds-per-session", "5", "--jobs", "1", "--json"]
    )
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert list(figures) == ["seeds", "sessions", "simulated_s", "realtime_factor", "violations", "failing_seeds"]
    assert (figures["seeds"], figures["violations"], figures["failing_seeds"]) == (2, 0, [])
    assert figures["sessions"] >= 2
    assert figures["simulated_s"] >= 10


def test_bugs_can_still_be_planted():
    """Each mutant's place is in the source exactly once, and there are more than enough of them."""
    spec = importlib.util.spec_from_file_location("mutate", ROOT / "scripts" / "mutate.py")
    mutate = importlib.util.module_from_spec(spec)
    sys.modules["mutate"] = mutate
    spec.loader.exec_module(mutate)
    assert len(mutate.MUTANTS) >= 15
    for mutant in mutate.MUTANTS:
        assert mutate.planted(mutant, ROOT / "src" / "voiceagent")


# ------------------------------------------------------------------------------------------ its rooms
def test_time_jumps():
    """Nothing is waited for in earnest, and time goes on to the microsecond that was asked for."""
    loop = VirtualLoop(1)
    before_us = loop.now_us
    loop.run(asyncio.sleep(3_600.000001))
    assert loop.now_us - before_us == 3_600_000_001


def test_what_falls_together_comes_in_a_drawn_order():
    """Two timers of one moment come in either order, by the seed; and the same seed gives the same order."""

    def order(seed):
        loop, come = VirtualLoop(seed), []

        async def work():
            for number in range(4):
                loop.after_us(10_000, come.append, number)
            await asyncio.sleep(0.02)

        loop.run(work())
        return tuple(come)

    assert len({order(seed) for seed in range(20)}) > 5
    assert order(5) == order(5)


def test_a_deadlock_is_told():
    """A wait that nothing will ever end is an error, and so is a moment without an end."""
    with pytest.raises(Stuck):
        VirtualLoop(1).run(asyncio.Event().wait())

    async def circle():
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Stuck):
        VirtualLoop(1).run(circle())


@pytest.mark.parametrize(
    ("pcm", "ranges"),
    [
        (audio(5, 10), [(5, 15)]),
        (audio(5, 10)[480 + 100 : 2_000], [(6, 10)]),
        (audio(5, 10)[:100], [(5, 6)]),
        (audio(5, 10) + audio(40, 3), [(5, 15), (40, 43)]),
        (audio(65_530, 10), [(65_530, 65_540)]),
        (audio(16_380, 10), [(16_380, 16_390)]),
    ],
)
def test_audio_says_where_it_is_from(pcm, ranges):
    """Whatever was cut or joined, the steps that a piece of audio is from can be read out of it."""
    assert steps_in(pcm, ranges[0][0] - 3) == ranges


def test_words_belong_to_the_audio_of_their_middle():
    """A cut inside a word gives the word to one side."""
    timeline = Timeline()
    segment = timeline.add(utter("speech", "one two", 10, random.Random(1)))
    one, two = segment.words
    middle = (two.start + two.end) // 2
    assert timeline.words([(0, middle)]) == [one]
    assert timeline.words([(middle, segment.end)]) == [two]
    assert timeline.words([(0, middle), (middle, segment.end)]) == [one, two]
    assert isinstance(one, Word)
    assert len(audio(0, 1)) == STEP_SAMPLES * 2
