"""What a change would have gained, on turns whose every moment is known."""

import pytest

from tests.log_lines import LATE, MARKS, SEGMENTS, late, turn
from voiceagent.latency.what_if import NAMES, BadWhatIf, Change, Effect, again, cut_off, parse, pauses_of


def gap_ms(text, record):
    """The record's gap after these changes."""
    return again(record, parse(text))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "speculate"])
@pytest.mark.parametrize("record", [turn(), late()], ids=["early", "late"])
def test_no_change_is_no_change(name, record):
    """A part made longer by nothing, or multiplied by one, leaves the gap as recorded."""
    assert gap_ms(f"{name}=+0", record) == record.gap_ms
    assert gap_ms(f"{name}=x1", record) == record.gap_ms


def test_a_shorter_wait_shows_what_was_hidden_under_it():
    """The early reply was ready 80 ms after the wait of 500 ms: a shorter one gains nothing, as the voice is waited for."""
    assert gap_ms("endpoint=300", turn()) == 680
    assert gap_ms("endpoint=-400", turn()) == 680


def test_a_shorter_wait_helps_where_it_was_what_was_waited_for():
    """Without an early reply all comes sooner, down to the words, which end 200 ms after the speech."""
    assert gap_ms("endpoint=300", late()) == 980 - 200
    assert gap_ms("endpoint=200", late()) == 980 - 300
    assert gap_ms("endpoint=150", late()) == 980 - 300


def test_a_wait_below_the_pause_commits_sooner():
    """Where the turn ends before the pause was noticed, what was said is committed then, and its words come sooner."""
    assert gap_ms("endpoint=50", late()) == 980 - 300 - 50
    assert gap_ms("endpoint=50", turn()) == 680 - 50


def test_a_longer_wait_is_waited_for():
    """It is hidden work that grows, up to the moment at which the reply is ready."""
    assert gap_ms("endpoint=560", turn()) == 680
    assert gap_ms("endpoint=900", turn()) == 680 + 320
    assert gap_ms("endpoint=900", late()) == 980 + 400


def test_nothing_is_answered_before_its_words_are_there():
    """However short the wait, the reply waits for the last words."""
    assert gap_ms("endpoint=-400", late(marks_ms={**LATE, "stt_final": 1500.0})) == 980 - 20


def test_words_that_ended_the_turn():
    """A turn that ended 200 ms after its wait waited for its words; a fixed wait would not, but the reply does."""
    marks = {**LATE, "stt_final": 1520.0}
    assert gap_ms("endpoint=300", late(marks_ms=marks, wait_ms=300)) == 980
    assert gap_ms("endpoint=+100", late(marks_ms=marks, wait_ms=300)) == 1080


@pytest.mark.parametrize(
    ("text", "early", "late_"),
    [
        ("llm_ttft=-80", 600, 900),
        ("llm_ttft=-200", 600, 780),  # from here on it is the wait
        ("llm_ttft=x0.5", 600, 880),
        ("llm_ttft=300", 780, 1080),
        ("tts_ttfb=-20", 660, 960),
        ("stt_tail=+50", 730, 980),  # hidden where the reply begins at the end of the turn
        ("clause_wait=0", 660, 960),
        ("send=0", 678, 978),
        ("playback=13", 630, 930),
        ("network=0,playback=0", 602, 902),
        ("leading_silence=0", 680, 980),
        ("llm_ttft=0,endpoint=300", 480, 580),
    ],
)
def test_parts(text, early, late_):
    """A faster or slower part moves what waits for it, and no more than that."""
    assert gap_ms(text, turn()) == early
    assert gap_ms(text, late(segments_ms=SEGMENTS)) == late_


def test_early_replies():
    """Without them the work begins at the end of the turn; with them, at its words."""
    assert gap_ms("speculate=off", turn()) == 980
    assert gap_ms("speculate=on", late()) == 680
    assert gap_ms("speculate=on", turn()) == 680
    assert gap_ms("speculate=off", late()) == 980


def test_an_early_reply_to_words_that_were_not_final():
    """It began before the final words; without it, they are waited for too."""
    marks = {**MARKS, "llm_request": 1130.0, "llm_first_token": 1330.0, "tts_request": 1350.0, "tts_first_byte": 1510.0,
             "gate_open": 1520.0, "first_frame_sent": 1522.0, "playback_start": 1600.0}  # fmt: skip
    record = turn(marks_ms=marks, gap_ms=600.0)
    assert gap_ms("endpoint=+0", record) == 600
    assert (
        gap_ms("speculate=off", record) == 600 + 390
    )  # 10 after the end of the turn, 380 of work, no wait at the gate
    assert gap_ms("llm_ttft=+50", record) == 640


def test_typed_turns_have_no_wait():
    """No wait changes them; the model does."""
    marks = {"speech_end": 0.0, "llm_request": 1.0, "llm_first_token": 301.0, "tts_request": 321.0, "tts_first_byte": 421.0,
             "gate_open": 422.0, "first_frame_sent": 423.0}  # fmt: skip
    typed = turn(origin="text", marks_ms=marks, gap_ms=423.0, basis="sent", wait_ms=None, segments_ms={})
    assert gap_ms("endpoint=100", typed) == 423
    assert gap_ms("speculate=off", typed) == 423
    assert gap_ms("llm_ttft=-100", typed) == 323


def test_a_voice_model():
    """In realtime mode its first audio stands for three stages."""
    marks = {"speech_end": 0.0, "speech_end_arrived": 20.0, "endpoint": 520.0, "llm_request": 521.0,
             "model_first_audio": 921.0, "gate_open": 922.0, "first_frame_sent": 922.0, "playback_start": 990.0}  # fmt: skip
    record = turn(mode="realtime", marks_ms=marks, gap_ms=990.0, segments_ms={})
    assert gap_ms("model_ttfa=-100", record) == 890
    assert gap_ms("endpoint=300,model_ttfa=x0.5", record) == 590


def test_turns_without_marks_are_left_out():
    """Nothing is guessed."""
    effect = Effect(parse("endpoint=300"))
    effect.take(turn(marks_ms={}))
    effect.take(turn(gap_ms=None, basis=None))
    assert (effect.left_out, effect.before.count, effect.judged) == (1, 0, 0)


FIXED, SHORTER, DIAL = Change("to", 300), Change("by", -200), Change("times", 0.6)


@pytest.mark.parametrize(
    ("pauses", "change", "expected"),
    [
        ((), FIXED, False),
        (((299, 500),), FIXED, False),
        (((300, 500),), FIXED, True),
        (((200, 500), (450, 500)), FIXED, True),
        (((299, 500),), SHORTER, False),
        (((300, 500),), SHORTER, True),
        (((700, 900),), SHORTER, True),  # it is the wait of that pause that is moved
        (((699, 900),), SHORTER, False),
        (((700, 1500),), SHORTER, False),
        (((700, 900),), Change("by", 200), False),
        (((300, 500),), DIAL, True),
        (((299, 500),), DIAL, False),
        (((700, 701),), Change("times", 1.0), False),
    ],
)
def test_cut_off(pauses, change, expected):
    """A pause as long as the wait that it would have had ends the turn."""
    assert cut_off(pauses, change) is expected


def test_pauses_that_did_end_the_turn_are_no_news():
    """They were no shorter than their wait; and where a key was held, none would have ended it."""
    assert pauses_of(turn(pauses_ms=[450, 200], pause_waits_ms=[500, 201])) == ([(450, 500), (200, 201)], [])
    assert pauses_of(turn(pauses_ms=[200, 500], pause_waits_ms=[500, 500])) == ([(200, 500)], [(500, 500)])
    assert pauses_of(turn(pauses_ms=[900, 400], pause_waits_ms=[None, 500])) == ([(400, 500)], [])


def test_a_log_without_the_waits_of_pauses():
    """An older one: its gaps move, but nobody knows who would have been cut off."""
    effect = Effect(parse("endpoint=300"))
    effect.take(late(pauses_ms=[400]))
    assert (effect.judged, effect.cut_off, effect.after.percentile(50)) == (0, 0, 780)


def test_the_effect_on_many():
    """Turns that would have been cut off are counted, and are in neither of the compared sets."""
    effect = Effect(parse("endpoint=300"))
    cut, reopened = {"pauses_ms": [400], "pause_waits_ms": [500]}, {"pauses_ms": [250], "pause_waits_ms": [200]}
    for record in (late(), late(**cut), turn(), late(**reopened, reopened=1, gap_ms=1000.0)):
        effect.take(record)
    assert (effect.judged, effect.already, effect.cut_off, effect.spared) == (4, 1, 1, 1)
    assert [effect.before.percentile(50), effect.after.percentile(50)] == [980, 780]
    assert (effect.before.count, effect.after.count) == (3, 3)


@pytest.mark.parametrize(
    "text",
    ["", "endpoint", "endpoint=", "endpoint=fast", "endpoint=1e3", "x=1", "speculate=yes", "llm_ttft=--1", "send=1,"],
)
def test_what_cannot_be_read(text):
    """It is refused with a sentence."""
    with pytest.raises(BadWhatIf, match="is"):
        parse(text)


def test_what_can_be_read():
    """Milliseconds, more, less, and factors; several with commas."""
    what = parse("endpoint=300, llm_ttft=-20.5ms,tts_ttfb=x0.5,send=+1,speculate=off")
    assert what.changes == {
        "endpoint": Change("to", 300), "llm_ttft": Change("by", -20.5), "tts_ttfb": Change("times", 0.5),
        "send": Change("by", 1),
    }  # fmt: skip
    assert (what.speculate, what.text) == (False, "endpoint=300,llm_ttft=-20.5ms,tts_ttfb=x0.5,send=+1,speculate=off")
    assert Change("by", -20).of(5) == 0
