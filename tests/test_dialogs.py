"""The dialog suite: its material, its scoring on takes made by hand, its ears, and a few dialogs with known outcomes."""

import io
import json
import random

import pytest
from click.testing import CliRunner

from voiceagent.cli import FAMILIES as OFFERED
from voiceagent.cli import main
from voiceagent.dialogs import material, sounds, table
from voiceagent.dialogs.caller import Said
from voiceagent.dialogs.command import Job, gather, perform
from voiceagent.dialogs.ears import DrawnEars
from voiceagent.dialogs.figures import ISSUE, Totals, figures, quantile, rate, summary
from voiceagent.dialogs.play import Take, shipped
from voiceagent.dialogs.real import RealRoom
from voiceagent.dialogs.room import Heard, written
from voiceagent.dialogs.scoring import Judge, eva, write_csv
from voiceagent.dialogs.scripts import COUNTS, FAMILIES, Script, script, scripts
from voiceagent.dialogs.sounds import Mouth, Sound
from voiceagent.endpointing import Endpoint, Loudness, Pause, Resumed, SoundOff, SoundOn, VoiceOn
from voiceagent.simulation.script import Timeline, audio
from voiceagent.twin import LocalEngines

LONG = 24_000 * 10  # a reply of 10 s


def take(family="plain", *, echo_db=None, **facts):
    """A dialog that went as it is told here; times in milliseconds."""
    made = Take(Script("hand-01", family, 30, echo_db, punctuated=False, exchanges=()), 1, up_ms=20, down_ms=30)
    made.made = dict.fromkeys(range(1, 9), LONG)
    for name, value in facts.items():
        setattr(made, name, value)
    return made


def judged(made):
    """Its events; the session began at 0."""
    return Judge(made, 0, "drawn").events()


def turn(start_ms, end_ms, **more):
    """The caller has the floor."""
    return Said("turn", "words", start_ms * 1000, end_ms * 1000, **more)


def over(label, start_ms, end_ms, epoch=1, **more):
    """A sound over the reply of an epoch."""
    return Said(label, "words", start_ms * 1000, end_ms * 1000, over=epoch, **more)


def heard(epoch, start_ms, end_ms, first_ms=0):
    """A stretch of an epoch that was heard, from `first_ms` of it on."""
    first = first_ms * 24
    return Heard(epoch, first, first + (end_ms - start_ms) * 24, start_ms * 1000, end_ms * 1000)


# ------------------------------------------------------------------------------------------ material and scripts
def test_the_suite_is_as_large_as_it_says():
    """There are more than 300 dialogs in eight families, each with a name of its own."""
    assert len(scripts()) == sum(COUNTS.values()) >= 300
    assert len({each.name for each in scripts()}) == len(scripts())
    assert {each.family for each in scripts()} == set(FAMILIES) == set(OFFERED)
    assert len(FAMILIES) == 8


def test_the_scripts_are_dealt_for_good():
    """A dialog says the same whenever it is asked for, and rooms of all kinds come in each family."""
    scripts.cache_clear()
    before = scripts()
    scripts.cache_clear()
    assert scripts() == before
    assert {each.snr_db for each in scripts() if each.family == "barge-in"} == {None, 30, 20, 10}
    assert {each.echo_db for each in scripts() if each.family == "echo"} == {-40, -30, -20}


def test_pauses_are_read_from_the_material():
    """A bar is a pause after unfinished words, two slashes one after words that could have been the end."""
    utterance = material.parse("I work nights // so | mornings are bad")
    assert [(piece.words, piece.pause) for piece in utterance.pieces] == [
        (("I", "work", "nights"), "finished"), (("so",), "unfinished"), (("mornings", "are", "bad"), ""),
    ]  # fmt: skip
    assert material.parse("!Stop.").bare
    assert all(murmur.least_ms < murmur.most_ms for murmur in material.murmurs())
    assert len(material.noises()) == len(material.lines("tics"))


def test_pauses_are_as_long_as_peoples():
    """The median of mid-turn pauses is about 400 ms; those after words that could have been the end stay below 700."""
    mouth = Mouth(random.Random(1), snr_db=None, punctuated=False, dips=False)
    utterance = material.parse("one | two // three")
    pauses = {"unfinished": [], "finished": []}
    for _ in range(500):
        first, second, third = mouth.say(utterance, 0)
        pauses["unfinished"].append((second.start - first.end) * 10)
        pauses["finished"].append((third.start - second.end) * 10)
    assert 370 <= quantile(pauses["unfinished"], 0.5) <= 430
    assert quantile(pauses["unfinished"], 0.95) > 900
    assert (min(pauses["finished"]), max(pauses["finished"])) == (250, 700)


def test_speech_is_as_fast_as_peoples():
    """Words come at some 180 to 200 a minute."""
    mouth = Mouth(random.Random(1), snr_db=None, punctuated=False, dips=False)
    said = [(len(each.text.split()), mouth.say(each, 0)[-1].end) for each in material.utterances("plain")]
    assert 175 <= sum(words for words, _ in said) * 6_000 / sum(steps for _, steps in said) <= 215


def test_an_stt_writes_digits_and_plain_words():
    """Single digits become one number; without punctuation nothing but words is left."""
    assert written(["The", "code", "is", "4", "7", "1,", "then", "9"]) == "The code is 471, then 9"
    mouth = Mouth(random.Random(1), snr_db=None, punctuated=False)
    words = [word.text for sound in mouth.say(material.parse("Mm-hm, it's J dot. Okafor?"), 0) for word in sound.words]
    assert words == ["mm-hm", "it's", "j", "dot", "okafor"]
    mouth = Mouth(random.Random(1), snr_db=None, punctuated=True, dips=False)
    said = [
        [word.text for word in mouth.say(material.parse(text), 0)[0].words]
        for text in ("Oh one more thing.", "It's oh one")
    ]
    assert said == [["Oh", "one", "more", "thing."], ["It's", "0", "1"]]


# ------------------------------------------------------------------------------------------ scoring
def test_a_turn_is_scored_by_what_was_heard():
    """The gap ends with the reply's first sample; a reply within the turn is a cut-off, and one after 4 s is missed."""
    made = take(
        said=[turn(1_000, 2_000), turn(5_000, 7_000), turn(20_000, 21_000)],
        heard=[heard(1, 2_600, 4_000), heard(2, 6_000, 6_200), heard(3, 7_900, 9_000), heard(4, 25_001, 26_000)],
    )
    good, cut, late = judged(made)
    assert (good.gap_ms, good.cut_off, good.missed, good.replies) == (600.0, False, False, 1)
    assert (cut.gap_ms, cut.cut_off, cut.missed, cut.replies) == (900.0, True, False, 1)
    assert (late.gap_ms, late.cut_off, late.missed, late.replies) == (4_001.0, False, True, 1)


def test_a_filler_is_no_reply():
    """A tone within the turn cuts nobody off, and answers nobody."""
    made = take(said=[turn(1_000, 2_000)], heard=[heard(7, 1_500, 1_600)], fillers={7})
    (event,) = judged(made)
    assert (event.cut_off, event.missed, event.gap_ms) == (False, True, None)


def test_a_cut_off_is_blamed_on_its_pause():
    """Of two pauses that one is at fault after which the reply began."""
    pauses = ((1_500_000, 1_900_000, "unfinished", "and"), (2_400_000, 3_400_000, "finished", "so"))
    made = take(said=[turn(1_000, 4_000, pauses=pauses)], heard=[heard(1, 3_000, 3_500), heard(2, 4_500, 6_000)])
    first, second, whole = judged(made)
    assert [(each.label, each.length_ms, each.cut_off) for each in (first, second, whole)] == [
        ("mid-turn pause", 400, False), ("mid-turn pause", 1_000, True), ("turn", 3_000, True),
    ]  # fmt: skip


def test_two_replies_to_one_turn_are_counted():
    """A second reply, with nobody having spoken, is one too many."""
    made = take(said=[turn(1_000, 2_000)], heard=[heard(1, 2_600, 4_000), heard(2, 5_000, 6_000)])
    assert judged(made)[0].replies == 2


def test_a_barge_in_is_scored_to_the_last_sample():
    """Yield is onset to the last sample heard, hold and verdict are onset to the server's word less the way up."""
    made = take(
        "barge-in",
        said=[over("barge-in", 5_000, 6_000)], heard=[heard(1, 3_000, 5_150), heard(2, 6_700, 8_000)],
        holds=[(5_090_000, 1)], flushes=[(5_600_000, 1)], verdicts=[(5_600_000, "confirmed: words")], words_off={1: -2},
    )  # fmt: skip
    (event,) = judged(made)
    assert (event.hold_ms, event.verdict_ms, event.verdict) == (70.0, 580.0, "confirmed: words")
    assert (event.stopped, event.yield_ms, event.words_off) == (True, 150.0, -2)
    assert (event.gap_ms, event.missed, event.network_ms) == (700.0, False, 50)


def test_a_barge_in_that_is_confirmed_too_late_does_not_count():
    """After 2 s the agent has not yielded; and what the turn then waits for is not scored."""
    made = take(
        said=[over("barge-in", 5_000, 7_500)], heard=[heard(1, 3_000, 7_100)], flushes=[(7_001_000, 1)],
    )  # fmt: skip
    (event,) = judged(made)
    assert (event.stopped, event.yield_ms, event.missed) == (False, None, None)


def test_an_ignored_backchannel_costs_a_pause():
    """Hold and resume are no stop; the pause, and how soon after the sound the agent went on, are on record."""
    made = take(
        said=[over("backchannel", 5_000, 5_300)],
        heard=[heard(1, 3_000, 5_120), heard(1, 5_600, 13_480, first_ms=2_120)],
        holds=[(5_090_000, 1)], verdicts=[(5_570_000, "rejected: backchannel")],
    )  # fmt: skip
    (event,) = judged(made)
    assert (event.stopped, event.pause_ms, event.resume_ms, event.resumed) == (False, 480.0, 300.0, True)


@pytest.mark.parametrize(
    ("again_ms", "first_ms", "end_ms"), [(5_701, 2_120, 13_581), (5_600, 2_080, 13_520), (5_600, 2_120, 9_000)]
)
def test_a_resume_must_be_prompt_and_exact(again_ms, first_ms, end_ms):
    """Later than 400 ms, from another sample, or not to the reply's end: it does not count."""
    made = take(
        said=[over("tic", 5_000, 5_300)],
        heard=[heard(1, 3_000, 5_120), heard(1, again_ms, end_ms, first_ms=first_ms)], holds=[(5_090_000, 1)],
    )  # fmt: skip
    assert judged(made)[0].resumed is False


def test_a_reply_to_a_false_sound_is_a_stop():
    """Flushed, or answered after the agent's last word: either way a cough took the floor."""
    cut = take(said=[over("tic", 5_000, 5_300)], heard=[heard(1, 3_000, 5_120)], flushes=[(5_500_000, 1)])
    answered = take(said=[over("tic", 5_000, 5_300)], heard=[heard(1, 3_000, 5_320), heard(2, 6_000, 7_000)])
    assert [judged(each)[0].stopped for each in (cut, answered)] == [True, True]


def test_holds_that_nobody_caused_are_the_echos():
    """Of the holds of a reply those that no sound explains are counted, by the minute of playback."""
    made = take(
        "echo", echo_db=-20,
        said=[over("barge-in", 23_000, 24_000)], heard=[heard(1, 3_000, 23_100)],
        holds=[(9_000_000, 1), (23_080_000, 1)], flushes=[(23_500_000, 1)],
    )  # fmt: skip
    *_, echo = judged(made)
    assert (echo.label, echo.holds, echo.playback_ms, echo.stopped) == ("echo", 1, 20_100.0, False)
    assert figures([echo])["echo_holds_per_min"] == round(60 / 20.1, 4)


def test_the_figures_are_exact():
    """Rates are shares of what is known, quantiles are by nearest rank, the curve is EVA-Bench's."""
    assert rate([True, None, False, True]) == 2 / 3
    assert rate([None]) is None
    assert quantile([30, None, 10, 20], 0.5) == 20
    assert quantile(range(1, 101), 0.95) == 95
    assert [eva(gap_ms) for gap_ms in (-1, 0, 100, 200, 350, 500, 2_000, 2_750, 3_500, 9_000)] == [
        0.0, 0.5, 0.6, 0.7, 0.85, 1.0, 1.0, 0.5, 0.0, 0.0,
    ]  # fmt: skip


def test_the_summary_has_the_keys_of_the_issue():
    """Every key is there, and each family tells only what applies to it."""
    made = take(said=[turn(1_000, 2_000)], heard=[heard(1, 2_600, 4_000)])
    told = summary(judged(made), Totals(1, 1, 5.0))
    assert set(told) == {*ISSUE, "dialogs", "families", "real_ears", "more"}
    assert (told["dialogs"], told["cut_off_rate"], told["yield_rate"]) == (1, 0.0, None)
    assert told["families"]["plain"] == {
        "events": 1, "cut_off_rate": 0.0, "gap_p50_ms": 600.0, "gap_p95_ms": 600.0, "eva": 1.0,
    }  # fmt: skip


def test_the_table_marks_what_falls_short():
    """A figure that misses its goal is bold, in the place between the markers and nowhere else."""
    made = take(said=[turn(1_000, 2_000)], heard=[heard(1, 1_600, 4_000)])
    rows = table.table(summary(judged(made), Totals(1, 1, 5.0)))
    assert "| turns that the agent cuts off | ≤ 3 % | **100 %** |" in rows
    assert "| turns without an answer within 4 s | 0 | **1** |" in rows
    page = table.with_table("a\n<!-- dialogs -->\nold\n<!-- /dialogs -->\nz\n", rows)
    assert page == f"a\n<!-- dialogs -->\n{rows}<!-- /dialogs -->\nz\n"
    assert table.with_table("no place for it\n", rows) == "no place for it\n"


# ------------------------------------------------------------------------------------------ the ears
def fed(ears, steps):
    """Let so many steps pass in frames of 20 ms; every proposal with the step at whose end it came."""
    return [(ears.samples // 240, type(each)) for at in range(0, steps, 2) for each in ears.feed(audio(at, 2))]


def sound(start, end, **more):
    """A sound that is heard as long as it lasts."""
    return Sound("speech", start, end, (), heard_from=start, heard_to=end, **more)


def test_the_ears_propose_when_it_was_drawn():
    """Sound, voice, pause and endpoint come at their step; speech goes on after three steps of it."""
    timeline = Timeline()
    timeline.add(sound(10, 40, gate_at=16, voice_at=20))
    timeline.add(sound(60, 80, gate_at=66, voice_at=70))
    ears = DrawnEars(timeline, pause_ms=100, endpoint_ms=300)
    assert fed(ears, 120) == [
        (16, SoundOn), (20, VoiceOn), (30, Loudness), (50, Pause), (64, Resumed), (90, Pause), (110, Endpoint),
    ]  # fmt: skip


def test_a_sound_that_is_no_speech_is_only_a_sound():
    """Without a voice it begins and ends; where it was never loud enough, not even that."""
    timeline = Timeline()
    timeline.add(sound(10, 30, gate_at=16))
    timeline.add(sound(60, 64))
    assert fed(DrawnEars(timeline, pause_ms=100, endpoint_ms=300), 120) == [(16, SoundOn), (40, SoundOff)]


def test_drawn_delays_are_the_measured_ones():
    """Over many draws the median is that of `ear_delays`, frames included."""
    draw = random.Random(1)
    drawn = [sounds.drawn_ms("20 dB", "sound", draw) for _ in range(2_000)]
    assert abs(quantile(drawn, 0.5) - sounds.DELAYS_MS["20 dB"]["sound"][2]) < 2
    placed = [(sounds.on_a_frame(start, 66.8) - start) * 10 for start in (100, 101)]
    assert placed == [60, 70]
    assert [(start + ms // 10) % 2 for start, ms in zip((100, 101), placed, strict=True)] == [0, 0]


def test_side_speech_is_heard_in_the_noise_that_it_has():
    """What is 12 dB below a caller at 30 dB is heard as one at 18 dB; at 10 dB it hardly stands out."""
    assert sounds.condition(30, None, -12) == "20 dB"
    assert sounds.condition(10, None, -12) is None
    assert sounds.condition(None, None) == "clean"
    assert sounds.condition(30, -20) == "echo -20 dB"


# ------------------------------------------------------------------------------------------ dialogs
def outcome(name, seed=1, ears="drawn"):
    """The events of one dialog."""
    result = perform(Job(name, seed, ears))
    assert result.totals.violations == []
    return result.events


def test_the_same_seed_gives_the_same_rows():
    """A dialog with its seed is one run, to the letter; with another seed it is another."""
    texts = []
    for seed in (3, 3, 4):
        out = io.StringIO()
        write_csv(outcome("barge-in-02", seed), out)
        texts.append(out.getvalue())
    assert texts[0] == texts[1] != texts[2]
    assert texts[0].count("\n") == len(outcome("barge-in-02", 3)) + 1


def test_plain_turns_are_answered():
    """Four plain turns: none cut off, none missed, each with one reply."""
    turns = [(each.cut_off, each.missed, each.replies) for each in outcome("plain-01")]
    assert turns == [(False, False, 1)] * 4


def test_stop_words_and_questions_stop_the_agent():
    """In this dialog one interrupts twice, and twice the agent yields."""
    interruptions = [each for each in outcome("barge-in-01") if each.label == "barge-in"]
    assert [(each.stopped, each.verdict.partition(":")[0]) for each in interruptions] == [(True, "confirmed")] * 2
    assert all(each.yield_ms < 300 for each in interruptions)


def test_clicks_and_knocks_do_not():
    """Sounds of the room hold the agent at most, and it goes on from the exact sample."""
    false = [each for each in outcome("tic-and-cough-01") if each.label == "tic"]
    assert len(false) == 6
    assert not any(each.stopped for each in false)
    assert all(each.resumed is not False for each in false)


@pytest.mark.skipif(bool(LocalEngines.missing()), reason="the local synthesiser is not installed")
def test_the_real_ears_hear_what_was_synthesised():
    """With waves, noise and an echo of -30 dB: the turns are answered, and the interruption stops the agent."""
    events = outcome("echo-02", ears="real")
    assert outcome("echo-02", ears="real") == events
    assert [(each.cut_off, each.missed) for each in events if each.label == "turn"] == [(False, False)] * 2
    assert [each.stopped for each in events if each.label == "barge-in"] == [True]
    assert [each.stopped for each in events if each.label == "echo"] == [False] * 3


def test_audio_is_found_again():
    """Whatever piece of the microphone's audio the STT gets, it is known which steps it is from."""
    room = RealRoom(script("plain-04"), 1, shipped())
    frames = [room.hear(step, 2) for step in range(0, 100, 2)]
    assert room.ranges(frames[20], 40) == [(40, 42)]
    assert room.ranges(b"".join(frames[10:30]), 77) == [(20, 60)]


def test_the_command_prints_json(tmp_path):
    """One dialog with one seed, as JSON and as CSV."""
    path = tmp_path / "events.csv"
    options = ["--dialog", "plain-02", "--seeds", "1", "--ears", "drawn", "--jobs", "1", "--json", "--csv", str(path)]
    done = CliRunner().invoke(main, ["dialogs", *options])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["dialogs"], told["missed_turns"], told["more"]["performances"]) == (1, 0, 1)
    rows = path.read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("family,dialog,seed,")
    assert len(rows) == 5


def test_results_are_joined():
    """The totals of dialogs add up."""
    one = perform(Job("plain-01", 1))
    events, totals = gather([one, one])
    assert len(events) == 2 * len(one.events)
    assert (totals.performances, totals.turns) == (2, 2 * one.totals.turns)
