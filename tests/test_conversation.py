"""The conversation by golden transcripts, and what must hold whatever happens."""

import os
import random

import pytest

from tests.transcript import FOLDER, play
from voiceagent import effects, events, protocol
from voiceagent.conversation import Conversation
from voiceagent.records import MARKS
from voiceagent.rules import Rules
from voiceagent.simulation.lines import as_written, misfit, negatives
from voiceagent.states import Leaf
from voiceagent.timeline import TransitionRecord, TurnRecord

BEGAN_US = 1_000_000  # a voice may have begun before it is noticed, but not before there was a clock
TRANSCRIPTS = sorted(FOLDER.glob("*.txt"))


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=[path.stem for path in TRANSCRIPTS])
def test_transcript(path):
    """Each fact has the effects that the transcript says, in this order."""
    written = path.read_text(encoding="utf-8")
    played = play(written)
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        path.write_text(played, encoding="utf-8")
    assert written == played


def _random_fact(rng: random.Random, conversation: Conversation, now_us: int) -> events.Fact:
    """Any fact that a driver could post, sensible or late."""
    epoch = max(0, conversation.epoch - rng.choice([0, 0, 0, 0, 1, 2]))
    item = max(1, conversation._next_item - rng.choice([1, 1, 1, 2, 3]))
    words = rng.choice(["", "yes", "what time is it", "stop", "mm-hm", "tell me about the", "yeah but why"])
    level_db = rng.choice([None, 0.0, 2.0, -3.0, -15.0])
    samples = rng.choice([0, 1, 2400, 12_000, 24_000, 48_000])
    mark = rng.choice(["llm_request", "llm_first_token", "tts_request", "tts_first_byte", "first_frame_sent"])
    makers = [
        lambda: events.SoundOn(now_us - 60_000),
        lambda: events.SoundOff(now_us - 100_000),
        lambda: events.VoiceOn(now_us - 100_000),
        lambda: events.VoiceLevel(level_db),
        lambda: events.VoicePaused(now_us - 200_000, rng.choice([0, 300_000]), level_db),
        lambda: events.VoicePaused(now_us - 100_000, rng.choice([0, 300_000]), level_db),
        lambda: events.VoiceResumed(rng.choice([120_000, 250_000]), now_us - 10_000),
        lambda: events.VoiceEnded(now_us - 500_000, now_us - 490_000, rng.choice([100_000, 2_000_000]), level_db),
        lambda: events.EndOfTurn(now_us - 100_000, rng.random()),
        lambda: events.Tuned(rng.random()),
        lambda: events.ReplyDropped(max(1, conversation.next_turn - 1), epoch, 3, 40),
        lambda: events.TextSubmitted("typed"),
        lambda: events.TalkKey(rng.random() < 0.5, now_us),
        lambda: events.AgentSays("Hello."),
        lambda: events.PartialTranscript(item, words),
        lambda: events.FinalTranscript(item, words),
        lambda: events.SttFailed(rng.choice([0, item]), "lost", "It broke."),
        lambda: events.SttConnected(40_000),
        lambda: events.ReplyConnected(epoch, "llm", 2_000, reused=False),
        lambda: events.ReplyMark(epoch, mark, now_us),
        lambda: events.ReplyPhrase(epoch, "A phrase.", samples),
        lambda: events.ReplyReady(epoch),
        lambda: events.ReplyReady(epoch),
        lambda: events.ReplyAudible(epoch, 240),
        lambda: events.ReplyDone(epoch, samples, {"completion_tokens": 5}),
        lambda: events.ReplyRetried(epoch, "llm", "broke"),
        lambda: events.ReplyFailed(epoch, rng.choice(["llm", "tts", "realtime"]), "broke", "It broke."),
        lambda: events.PlaybackStarted(epoch, now_us - 20_000, 4_000),
        lambda: events.PlaybackProgress(epoch, samples, rng.choice(["played", "held", "flushed", "ended", "ended"])),
    ]
    return rng.choice(makers)()


def _run(seed: int, steps: int = 400) -> tuple[Conversation, list[effects.Effect]]:
    rng = random.Random(seed)
    voice = seed % 4 == 3
    rules = Rules(
        speech_to_speech=voice, speculate=not voice,
        barge_in=rng.random() < 0.9, max_history_turns=rng.choice([1, 40]), filler=rng.choice(["", "tone"]),
        filler_after_us=300_000, ask_after_us=rng.choice([0, 3_000_000]), ask="Are you there?",
        farewell=rng.choice(["", "Goodbye."]), idle_us=9_000_000,
    )  # fmt: skip
    conversation, now_us, done = Conversation(rules, BEGAN_US), BEGAN_US, []
    for _ in range(steps):
        now_us += rng.choice([0, 10_000, 100_000, 600_000])
        due_us = conversation.deadline_us
        if due_us is not None and due_us <= now_us:
            done += conversation.handle(events.Tick(), max(due_us, now_us))
        if conversation.leaf is Leaf.CLOSED:
            break
        done += conversation.handle(_random_fact(rng, conversation, now_us), now_us)
    done += conversation.handle(events.Left("done"), now_us)
    return conversation, done


def _spoken_turns(rules: Rules, count: int) -> tuple[Conversation, list[effects.Effect]]:
    """So many turns of 2 s each whose replies were heard, and then the words of all of them."""
    conversation, done = Conversation(rules, 0), []

    def happens(at_s: float, *facts: events.Fact) -> None:
        for fact in facts:
            done.extend(conversation.handle(fact, round(at_s * 1e6)))

    for number in range(count):
        begin_s = 2.0 * number + 1
        us = round(begin_s * 1e6)
        happens(begin_s, events.VoiceOn(us))
        happens(begin_s + 0.5, events.VoiceEnded(us + 400_000, us + 400_000, 400_000))
        epoch = conversation.epoch
        happens(begin_s + 0.6, events.ReplyPhrase(epoch, "Yes.", 0), events.ReplyReady(epoch))
        happens(begin_s + 0.7, events.ReplyDone(epoch, 9_600))
        happens(begin_s + 1.5, events.PlaybackProgress(epoch, 9_600, "ended"))
    done.clear()
    happens(2.0 * count + 1, *(events.FinalTranscript(item, f"word {item}") for item in range(1, count + 1)))
    return conversation, done


def test_words_of_turns_long_over():
    """A voice model's words are taken for its last sixteen items of turns that are over; older ones are lost, and counted."""
    conversation, done = _spoken_turns(Rules(speech_to_speech=True, speculate=False), 20)
    assert [past.user for past in conversation.past] == [""] * 4 + [f"word {item}" for item in range(5, 21)]
    assert [past.reply for past in conversation.past] == ["Yes."] * 20
    assert done == [
        effects.Send(protocol.Transcript(turn=item, text=f"word {item}", final=True)) for item in range(5, 21)
    ]
    assert conversation.stale == 4


def test_words_of_turns_long_forgotten():
    """No more turns are remembered for it than the rules say."""
    conversation, _ = _spoken_turns(Rules(speech_to_speech=True, speculate=False, max_history_turns=2), 5)
    assert [past.user for past in conversation.past] == ["word 4", "word 5"]


@pytest.mark.parametrize("seed", range(400))
def test_whatever_happens(seed):
    """In any order of facts: nothing crashes, no epoch speaks unasked, every turn ends once, and seq has no gap."""
    conversation, done = _run(seed)
    assert conversation.leaf is Leaf.CLOSED
    started: set[int] = set()
    over: set[int] = set()
    early: set[int] = set()
    finished: list[int] = []
    seqs: list[int] = []
    turns: set[int] = set()
    for effect in done:
        match effect:
            case effects.StartReply(turn, epoch) | effects.StartFiller(turn, epoch):
                assert epoch not in started
                started.add(epoch)
                turns.add(turn)
                if getattr(effect, "speculative", False):
                    early.add(epoch)
            case effects.PromoteReply(_, epoch):
                assert epoch in early - over
                early.discard(epoch)
            case effects.OpenGate(_, epoch):
                assert epoch in started - over - early, "nothing speculative leaves the gate"
            case effects.HoldReply(_, epoch) | effects.ResumeReply(_, epoch):
                assert epoch in started - over
            case effects.FlushReply(_, epoch):
                assert epoch in started - over
            case effects.CancelReply(_, epoch):
                over.add(epoch)
            case effects.OpenItem(turn):
                turns.add(turn)
            case effects.TellHeard(_, epoch, samples):
                assert conversation.rules.speech_to_speech
                assert epoch in started
                assert samples >= 0
            case effects.Record(TransitionRecord() as step):
                seqs.append(step.seq)
                assert (misfit(as_written(step)), list(negatives(as_written(step)))) == ("", [])
            case effects.Record(TurnRecord() as record):
                finished.append(record.turn)
                assert (misfit(as_written(record)), list(negatives(as_written(record)))) == ("", [])
                assert record.marks.keys() <= MARKS.keys()
                if record.gap is not None:
                    assert record.gap.residual_us >= 0
                    assert min(record.gap.segments_us.values()) >= 0
    assert early <= over, "an early reply was neither promoted nor dropped"
    assert seqs == list(range(1, len(seqs) + 1))
    assert sorted(finished) == sorted(set(finished))
    assert turns <= set(finished)
    assert len(conversation._items) == 0
