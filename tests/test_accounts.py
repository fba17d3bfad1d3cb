"""What the driver puts on the records: tasks, queues and lateness on a step's, work and cost on a turn's."""

import random
import re
from dataclasses import replace

import pytest
from pydantic import ValidationError

from tests.world import settings_for_tests
from voiceagent.accounts import KEPT_TURNS, Accounts, trace_id
from voiceagent.clockmap import ClockMap
from voiceagent.conversation import Conversation
from voiceagent.effects import Record
from voiceagent.events import PlaybackStarted, ReplyMark, ReplyReady, TextSubmitted
from voiceagent.pricing import Price, together
from voiceagent.recording import Recorder
from voiceagent.rules import Rules
from voiceagent.steps import KEPT_LAGS, Steps
from voiceagent.timeline import EndedTask, LlmWork, Network, TransitionRecord, TtsWork, response_gap
from voiceagent.turns import Turn


def step(seq):
    """A step's record as the machine makes it."""
    return TransitionRecord(seq, seq, 1, 1, "listening", "voice_on", "transcribing_open", 0, None, "")


def ended_turn(number=1, **changes):
    """A turn's record as the conversation makes it."""
    turn = Turn(number, "user", 5_000_000)
    turn.marks["speech_start"] = 5_000_000
    for name, value in changes.items():
        setattr(turn, name, value)
    return Recorder(0, content=False).turn(turn, "completed", 9_000_000)


class Desk:
    """Accounts with what they look at."""

    def __init__(self, **settings):
        self.clock = ClockMap()
        self.lags = {}
        self.accounts = Accounts(
            "s", settings_for_tests(**settings), {"stt": "ear", "llm": "mind", "tts": "mouth", "realtime": "one"},
            clock=self.clock, audio=lambda item: item * 24_000, lag_us=lambda from_us: self.lags.get(from_us, 0),
        )  # fmt: skip


# ------------------------------------------------------------------------------------------ steps
def test_a_step_is_told_with_what_its_effects_did():
    """Its record comes after its effects, before the turn that ended with it, and the next one tells what ended since."""
    told, waiting = [], [(3, 2)]
    steps = Steps(told.append, lambda: waiting[0])
    turn = ended_turn()
    steps.late(1, 40)
    steps.late(2, 10)
    steps.take(step(1))
    waiting[0] = (0, 9)
    steps.started("reply 1")
    steps.take(turn)
    steps.cancelled("reply 1")
    assert told == []
    steps.close()
    first, second = told
    assert (first.started, first.cancelled, first.ended) == (("reply 1",), ("reply 1",), ())
    assert (first.inbox, first.outbox, first.loop_lag_us) == (3, 2, 40)
    assert second is turn
    steps.ended("reply 1", 700)
    steps.started("reply 2")  # by an effect that no step asked for
    steps.close()
    steps.take(step(2))
    steps.take(step(3))
    steps.close()
    assert [record.ended for record in told[2:]] == [(EndedTask("reply 1", 700),), ()]
    assert [record.started for record in told[2:]] == [("reply 2",), ()]
    assert [record.loop_lag_us for record in told[2:]] == [0, 0]


def test_the_greatest_lateness_since_a_moment():
    """It is that of the facts since then, however many there were before, and little is kept for it."""
    draw = random.Random(1)
    steps, all_lags = Steps(print, lambda: (0, 0)), []
    for at_us in range(5_000):
        lag_us = draw.choice((0, 5, 90, 2_000, draw.randrange(10_000)))
        steps.late(at_us, lag_us)
        all_lags.append(lag_us)
        if at_us % 97 == 0:
            from_us = draw.randrange(max(0, at_us - 300), at_us + 1)
            assert steps.latest_since(from_us) == max(all_lags[from_us:])
    assert len(steps._lags) <= KEPT_LAGS
    assert steps.latest_since(5_000) == 0


# ------------------------------------------------------------------------------------------ accounts
def test_all_attempts_at_a_reply_are_the_models_work():
    """Tokens and requests of a turn are summed, second requests too; speech is that of the last reply."""
    desk = Desk()
    early, last = desk.accounts.begin(1, 1), desk.accounts.begin(1, 2)
    desk.accounts.begin(2, 3).requests = 7
    early.requests, early.tokens, early.characters, early.dropped = 1, 4, 30, True
    last.requests, last.finish, last.characters, last.samples, last.speech_us = 2, "length", 50, 48_000, 500_000
    last.count({"prompt_tokens": 10, "completion_tokens": 5, "cached_tokens": 3, "hedged_llm": 1})
    last.count({"prompt_tokens": 20, "completion_tokens": 5})
    desk.accounts.underrun(1, 2)
    desk.accounts.underrun(9, 9)
    desk.clock.pong(0, 30_000, 1.0)
    desk.clock.pong(100_000, 110_000, 101.0)
    desk.lags[5_000_000] = 1_234
    record = desk.accounts.completed(replaced_epoch(ended_turn(), 2))
    assert record.llm == LlmWork("mind", "gpt-6-luna", 30, 10, 3, "length", 4)
    assert record.tts == TtsWork("mouth", "gpt-realtime-2.1-mini", 50, 2_000_000, 0.25, 1)
    assert (record.stt.items, record.stt.audio_us) == (0, 0)
    assert (record.speculation.wasted_tokens, record.speculation.wasted_characters) == (4, 30)
    assert record.network == Network(10_000, 20_000, 4_000)
    assert (record.loop_lag_us, record.trace, record.mode) == (1_234, trace_id("s", 1), "cascade")
    again = desk.accounts.completed(ended_turn())
    assert (again.llm, again.tts) == (None, None)


def replaced_epoch(record, epoch):
    """The same with another reply."""
    return replace(record, epoch=epoch)


def test_one_model_does_all_of_it():
    """In realtime mode host and model are the voice model's throughout, and its tokens are the whole cost."""
    desk = Desk(mode="realtime", realtime_model="v", prices={"v": {"tokens_in": 4.0, "tokens_out": 16.0}})
    work = desk.accounts.begin(1, 1)
    work.requests, work.characters, work.samples = 1, 9, 24_000
    work.count({"prompt_tokens": 1_000, "completion_tokens": 500})
    record = desk.accounts.completed(replaced_epoch(ended_turn(), 1))
    assert {(part.host, part.model) for part in (record.stt, record.llm, record.tts)} == {("one", "v")}
    assert record.cost_usd == 0.012


def test_what_a_dropped_answer_costs():
    """It counts by the words that came of it; cached tokens have their own price; one missing price leaves no estimate."""
    prices = {
        "m": {"tokens_in": 1.0, "tokens_cached": 0.25, "tokens_out": 4.0},
        "t": {"characters": 10.0, "audio_min": 0.6},
    }
    desk = Desk(prices=prices, llm_model="m", tts_model="t", stt_model="free")
    work = desk.accounts.begin(1, 1)
    work.requests, work.tokens, work.characters, work.samples = 1, 100, 40, 240_000
    work.count({"prompt_tokens": 1_000, "cached_tokens": 400})
    record = desk.accounts.completed(ended_turn())
    assert record.cost_usd == round((600 + 100 + 400 + 400) / 1e6 + 0.1, 9)
    desk.accounts.begin(2, 2).requests = 1
    heard = ended_turn(2)
    assert desk.accounts.completed(replace(heard, items=(1,))).cost_usd is None
    assert Price(tokens_in=2.0).of_tokens(10, 0, 4) == 20 / 1e6
    assert together({}, []) is None
    assert together({"m": Price()}, [1.0, None]) is None


def test_prices_are_checked():
    """A price below zero, of nothing known, or no number is refused."""
    for wrong in ({"tokens_in": -1}, {"tokens": 1}, {"tokens_in": "dear"}, {"tokens_in": float("inf")}):
        with pytest.raises(ValidationError):
            settings_for_tests(prices={"m": wrong})


def test_accounts_of_turns_that_never_end_are_closed():
    """Of so many turns without a record the oldest are forgotten."""
    desk = Desk()
    for turn in range(KEPT_TURNS * 2):
        desk.accounts.begin(turn, turn)
    assert len(desk.accounts._works) == KEPT_TURNS


def test_a_trace_is_the_same_each_time():
    """Its number is that of the session and the turn, and of no other."""
    assert trace_id("a", 1) == trace_id("a", 1)
    assert re.fullmatch("[0-9a-f]{32}", trace_id("a", 1))
    assert len({trace_id(session, turn) for session in ("a", "b", "a/1") for turn in range(50)}) == 150


# ------------------------------------------------------------------------------------------ nothing below zero
def test_a_clock_that_errs_leaves_a_residual():
    """A reply that is told to be heard before its question ended has no gap below zero; the rest is the residual."""
    marks = {"speech_end": 5_000, "speech_end_arrived": 6_000, "endpoint": 9_000, "first_frame_sent": 9_500}
    gap = response_gap(marks | {"playback_start": 4_000})
    assert (gap.gap_us, gap.residual_us, sum(gap.segments_us.values())) == (0, 4_500, 4_500)
    assert gap.clock_error
    assert response_gap(marks).residual_us == 0
    assert not response_gap(marks).clock_error


def test_a_turn_is_as_old_as_its_voice():
    """A turn that was begun while somebody spoke begins with what they said."""
    record = ended_turn(marks={"speech_start": 5_000_000, "speech_end": 4_200_000})
    assert record.started_us == 4_200_000
    assert record.ended_us - record.started_us == 4_800_000


def test_no_sound_is_told_of_before_it_is_heard():
    """The speaker's first sample lies between the frame that was sent and the browser's word of it."""
    for at_us, marked_us in ((50_000, 100_000), (130_000, 130_000), (900_000, 150_000)):
        conversation = Conversation(Rules(filler=""), 0)
        conversation.handle(TextSubmitted("hello"), 10_000)
        conversation.handle(ReplyReady(1), 90_000)
        conversation.handle(ReplyMark(1, "first_frame_sent", 100_000), 100_000)
        conversation.handle(PlaybackStarted(1, at_us, 0), 150_000)
        assert conversation.turn.reply.marks["playback_start"] == marked_us
        assert not [effect for effect in conversation.handle(ReplyReady(1), 160_000) if isinstance(effect, Record)]
