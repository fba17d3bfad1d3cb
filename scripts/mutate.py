"""Plant bugs one at a time in a copy of the package, and see that the simulator, or a fast core test, catches each.

A mutant is a piece of source that is replaced by another. A piece that is not there exactly once is an error: the bug has
to be planted anew. ``python scripts/mutate.py`` prints a table; ``--only NAME`` tries some, ``--share K/N`` every Nth.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
SEEDS, SECONDS = 300, 30
TIMEOUT_S = 240

HUNT = """
import json, sys
from voiceagent.simulation.run import simulate
for seed in range(1, int(sys.argv[1]) + 1):
    outcome = simulate(seed, float(sys.argv[2]))
    if outcome.violations:
        print(json.dumps([seed, outcome.violations[0].name]))
        break
"""


@dataclass(frozen=True)
class Mutant:
    """One bug. `tests` are those that see it where the simulator cannot."""

    name: str
    path: str
    old: str
    new: str
    tests: str = ""


MUTANTS = (
    # -- from PEERS.md's table, by its numbers
    Mutant(
        "1 the last transcript is ignored, the deadline releases the turn", "weighing.py",
        "if self.leaf is Leaf.TRANSCRIBING_ENDED and turn is self.turn and complete:\n            self._weigh_words()\n",
        "if self.leaf is Leaf.TRANSCRIBING_ENDED and turn is self.turn and complete:\n",
    ),
    Mutant(
        "2 a transcript that was told twice counts twice", "weighing.py",
        "turn, item = self._items.pop(fact.item, (None, None))\n        if turn is None or item is None:\n"
        "            self._final_after(fact)\n            return\n        item.final",
        "turn, item = self._items.get(fact.item, (None, None))\n        if turn is None or item is None:\n"
        "            self._final_after(fact)\n            return\n        item.final",
    ),
    Mutant(
        "3 an end of speech counts in every state", "conversation.py",
        "        if self.leaf not in (Leaf.TRANSCRIBING_OPEN, *BARGE_IN):\n            if self._late is not None:",
        "        if self.turn is None:\n            if self._late is not None:",
    ),
    Mutant(
        "4 a reply is dropped, and made nevertheless", "answering.py",
        "                self._out.append(CancelReply(turn.number, turn.reply.epoch))\n",
        "                pass\n",
    ),
    Mutant(
        "5 facts of an older epoch are taken for the present one's", "playing.py",
        "turn.reply.epoch == epoch:", "turn.reply.epoch >= epoch:",
    ),
    Mutant(
        "7 a hold that was rejected is not resumed", "playing.py",
        "            self._out.append(ResumeReply(turn.number, reply.epoch))\n", "",
    ),
    Mutant(
        "9 a reply goes on being made after its cancellation", "attempts.py",
        "            task.cancel()\n            self._steps.cancelled(name)\n", "            self._steps.cancelled(name)\n",
    ),
    Mutant(
        "10 the tasks of a session outlive it", "session.py",
        "            for task in tasks:\n                task.cancel()\n", "",
    ),
    Mutant(
        "12 a microphone that dies leaves the utterance open", "session.py",
        "now_us - self._frame_us > settings.mic_timeout_s * 1e6", "now_us - self._frame_us > 1e15",
    ),
    Mutant(
        "12 speaking has no deadline", "bookkeeping.py",
        "due_us = self._progress_us + rules.stall_timeout_us", "due_us = self._progress_us + 10**12",
    ),
    Mutant(
        "12 transcribing has no deadline", "bookkeeping.py",
        "due_us = entered_us + rules.stt_timeout_us", "due_us = None",
    ),
    Mutant(
        "14 the history keeps what was not heard", "turns.py",
        'heard = reply.heard if reply is not None else ""',
        'heard = reply.ledger.text if reply is not None else ""',
    ),
    Mutant("16 the odd byte is dropped", "audio.py", "        self._rest = data[even:]\n", '        self._rest = b""\n'),
    Mutant(
        "17 the pre-roll is lost", "microphone.py",
        "self._sample_at(from_us) - self._pre_roll", "self._sample_at(from_us)",
    ),
    Mutant(
        "18 an empty answer is silence", "playing.py",
        "if fact.samples == 0 and not reply.failure:", "if fact.samples < 0 and not reply.failure:",
    ),
    Mutant(
        "19 a sound may be heard before it was sent", "playing.py",
        'reply.marks.setdefault("playback_start", max(min(fact.at_us, self._now_us), earliest_us))',
        'reply.marks.setdefault("playback_start", fact.at_us - 400_000)',
    ),
    Mutant(
        "20 after a lost guess there is never another", "speculation.py",
        "    (Guess.DROPPED, Step.START): Guess.RUNNING,\n", "",
    ),
    Mutant(
        "22 audio goes on to a committed item", "microphone.py",
        '        """End the item."""\n        self._open = 0\n', '        """End the item."""\n',
    ),
    # -- the gate
    Mutant(
        "the gate opens during a barge-in", "playing.py",
        "            elif self.leaf is Leaf.THINKING:\n                self._release(turn, reply)",
        "            else:\n                self._release(turn, reply)",
    ),
    Mutant(
        "the gate opens for a guess", "playing.py",
        "                turn.guess_step(Step.AUDIO)\n",
        "                turn.guess_step(Step.AUDIO)\n                self._release(turn, reply)\n",
    ),
    Mutant(
        "a guess is promoted whatever the turn said in the end", "answering.py",
        "turn.guessed and same_words(reply.text, turn.text):", "turn.guessed:",
    ),
    Mutant(
        "a guess outlives the user's going on", "conversation.py",
        '            self._drop_guess(turn)\n            if leaf is Leaf.TRANSCRIBING_ENDED:\n',
        '            if leaf is Leaf.TRANSCRIBING_ENDED:\n',
    ),
    Mutant(
        "a guess calls functions", "reply.py",
        "        await self._promoted.wait()\n        for call in calls:\n", "        for call in calls:\n",
    ),
    Mutant(
        "a guess asks for all its speech", "reply.py",
        "            await self._speeches.put(speech)\n            await self._promoted.wait()\n",
        "            await self._speeches.put(speech)\n",
    ),
    # -- the reply and the user
    Mutant(
        "the next request does not wait for the flush's answer", "answering.py",
        "        if self._flush is not None:\n            return  # `_resolve_flush` comes back here\n", "",
    ),
    Mutant(
        "a held reply is sent on", "outbox.py",
        "stream is None or stream.held_at is not None or stream.ended", "stream is None or stream.ended",
    ),
    Mutant(
        "a backchannel cuts", "weighing.py",
        '                self._reject("backchannel")', '                self._confirm_by("words")',
    ),
    Mutant(
        "the filler goes on under the reply", "answering.py",
        "        self._end_filler(turn)\n        reply.released = True\n", "        reply.released = True\n",
    ),
    Mutant(
        "a reopened turn leaves no record of its rest", "playing.py",
        '        self._finish(rest, "reopened")\n', "",
    ),
    Mutant(
        "a half word stays beside the whole one", "conversation.py",
        "        turn.parts.remove(item)\n", "",
    ),
    Mutant(
        "leaving forgets the tentative turn", "playing.py",
        "        for turn in (self.turn, self._over):\n            if turn is not None:\n                if turn.filler:",
        "        for turn in (self.turn,):\n            if turn is not None:\n                if turn.filler:",
    ),
    Mutant(
        "the time in a leaf counts from its last record", "recording.py",
        "        if target is not source:\n            self.entered_us = now_us\n", "        self.entered_us = now_us\n",
    ),
    # -- what only a test of the table itself can see: the simulator replays by the same table
    Mutant(
        "two rows of the table are swapped", "states.py",
        "(Leaf.SPEAKING, Trigger.PLAYBACK_ENDED, Leaf.LISTENING)", "(Leaf.SPEAKING, Trigger.PLAYBACK_ENDED, Leaf.THINKING)",
        tests="tests/test_states.py",
    ),
    Mutant(
        "a stop word is nothing special", "weighing.py",
        'elif lexicon.is_stop(text):\n            self._confirm_by("stop")', 'elif lexicon.is_stop(text) and not waits:\n'
        '            self._confirm_by("stop")',
        tests="tests/test_conversation.py",
    ),
)  # fmt: skip


def planted(mutant: Mutant, source: Path) -> str:
    """Return the file with the bug in it. Raises `ValueError` if its place is not there exactly once."""
    text = (source / mutant.path).read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.name}: its text stands {text.count(mutant.old)} times in {mutant.path}")
    return text.replace(mutant.old, mutant.new)


NOTHING = Mutant("nothing", "states.py", "STAY = None", "STAY = None")


def hunt(mutant: Mutant, source: Path) -> str:
    """Return who caught it: an invariant and the seed, or a test; empty if nobody did."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "voiceagent"
        shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
        (package / mutant.path).write_text(planted(mutant, package), encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        if mutant.tests:
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", mutant.tests]
        else:
            command = [sys.executable, "-c", HUNT, str(SEEDS), str(SECONDS)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired:
            return ""
    if mutant.tests:
        return mutant.tests if done.returncode == 1 else ""
    if done.returncode:
        raise RuntimeError(f"{mutant.name}: {done.stderr[-2000:]}")
    if not done.stdout.strip():
        return ""
    seed, invariant = json.loads(done.stdout)
    return f"{invariant}, seed {seed}"


def main() -> int:
    """Plant all that are asked for and print the table; 1 if one got away."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="try the mutants whose name contains this")
    parser.add_argument("--share", default="0/1", help="K/N: of the mutants every Nth, from the Kth on")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="so many at a time")
    parser.add_argument("--source", type=Path, default=ROOT / "src" / "voiceagent", help="the package to plant them in")
    options = parser.parse_args()
    first, step = (int(part) for part in options.share.split("/"))
    mutants = [mutant for mutant in MUTANTS if options.only in mutant.name][first::step]
    for mutant in mutants:
        planted(mutant, options.source)
    if caught := hunt(NOTHING, options.source):
        print(f"without any planted bug something is wrong: {caught}")
        return 1
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for mutant, caught in zip(mutants, pool.map(partial(hunt, source=options.source), mutants), strict=True):
            missed += not caught
            print(f"{mutant.name:70} {caught or 'GOT AWAY'}", flush=True)
    print(f"{len(mutants) - missed} of {len(mutants)} caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
