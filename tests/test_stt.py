"""Whose words they are: results in any order, the server's own cuts, errors of one item and of the whole session."""

import asyncio

import pytest

from tests.fake_session import taken, words
from tests.stt_rig import EMPTY, FRAME, on_rig, refusal, speech
from tests.test_stages import finals, stages
from tests.twin.realtime import Loud, silence, voice
from tests.virtual import virtual_time
from voiceagent.events import FinalTranscript, SttFailed
from voiceagent.twin import Script, detection


@on_rig()
async def test_a_plain_item(rig):
    """Audio and commit go out, words come back, and the connection is told of once."""
    await rig.say(1)
    assert rig.line.committed == {1: FRAME * 10}
    await rig.hear(taken("a"), words("a", "he", "delta"), words("a", "llo", "delta"), words("a", "hello"))
    assert (rig.partials, rig.finals) == ([(1, "he"), (1, "hello")], [(1, "hello")])
    assert (rig.connected, rig.failures) == (1, [])


@on_rig()
async def test_completed_before_committed(rig):
    """The words of the only item that waits are its words, whatever is told later."""
    await rig.say(1)
    await rig.hear(words("a", "one"), taken("a"))
    await rig.say(2)
    await rig.hear(taken("b", "a"), words("b", "two"))
    assert rig.finals == [(1, "one"), (2, "two")]


@on_rig()
async def test_words_that_come_before_it_is_known_whose_they_are(rig):
    """With two items waiting, words wait for the commits to be told."""
    await rig.say(1)
    await rig.say(2)
    await rig.hear(words("b", "two"))
    assert rig.finals == []
    await rig.hear(taken("a"), taken("b", "a"))
    assert rig.finals == [(2, "two")]
    await rig.hear(words("a", "one"))
    assert rig.finals == [(2, "two"), (1, "one")]


@on_rig()
async def test_commits_told_in_the_wrong_order(rig):
    """`previous_item_id` says which was first; what comes late changes nothing."""
    await rig.say(1)
    await rig.say(2)
    await rig.hear(taken("b", "a"), taken("a"), words("a", "one"), words("b", "two"))
    assert rig.finals == [(1, "one"), (2, "two")]


@on_rig()
async def test_a_commit_that_is_not_told(rig):
    """The next one's `previous_item_id` tells of it."""
    await rig.say(1)
    await rig.say(2)
    await rig.hear(words("a", "one"), taken("b", "a"), words("b", "two"))
    assert rig.finals == [(1, "one"), (2, "two")]


@on_rig()
async def test_doubles_and_strangers(rig):
    """What is told twice is told once; an item that nobody committed is nobody's."""
    await rig.say(1)
    await rig.hear(taken("a"), taken("a"), words("x", "who?"), words("a", "one"), words("a", "one"), taken("a"))
    await rig.say(2)
    await rig.hear(taken("b", "a"), taken("a"), words("a", "again"), words("b", "two"), {"type": "new"}, {})
    assert (rig.finals, rig.failures) == ([(1, "one"), (2, "two")], [])


@on_rig()
async def test_a_commit_of_nobody_that_comes_again(rig):
    """It is not the next item's."""
    await rig.hear(taken("x"))
    await rig.say(1)
    await rig.hear(taken("x"), words("x", "who?"))
    assert rig.finals == []
    await rig.hear(taken("a", "x"), words("a", "one"))
    assert rig.finals == [(1, "one")]


@on_rig()
async def test_nothing_said_and_nothing_understood(rig):
    """An empty transcript is an end, also after deltas; a failed one is an end too."""
    await rig.say(1)
    await rig.hear(taken("a"), words("a", "uh", "delta"), words("a", ""))
    await rig.say(2)
    await rig.hear(taken("b", "a"), words("b", {"code": "audio_unintelligible"}, "failed"))
    assert (rig.finals, rig.failures) == ([(1, "")], [(2, "audio_unintelligible")])


@pytest.mark.parametrize(
    ("deltas", "transcript", "final"),
    [
        (("what time", " is it"), "what time", "what time is it"),
        (("what time",), "what time is it", "what time is it"),
        (("what thyme", " is it"), "What time", "What time"),
    ],
)
def test_a_lost_tail(deltas, transcript, final, monkeypatch):
    """Deltas are never taken back: where the transcript is their beginning alone, they count."""

    @on_rig()
    async def run(rig):
        await rig.say(1)
        await rig.hear(taken("a"), *(words("a", delta, "delta") for delta in deltas), words("a", transcript))
        assert rig.finals == [(1, final)]

    run(monkeypatch)


# ------------------------------------------------------------------------------------------ errors
@on_rig()
async def test_nothing_to_commit(rig):
    """A commit with nothing in it is an empty item; the same word of a commit that was taken changes nothing."""
    await rig.say(1)
    await rig.hear(refusal(EMPTY, "commit_1"))
    await rig.say(2)
    await rig.hear(taken("b"), refusal(EMPTY, "commit_2"), words("b", "two"))
    assert (rig.finals, rig.failures) == ([(1, ""), (2, "two")], [])


@on_rig()
async def test_errors_that_are_not_the_sessions(rig):
    """What nobody asked about ends nothing; a refused commit ends its item."""
    await rig.say(1)
    await rig.hear(refusal("invalid_value"), refusal("unknown_parameter", "other"), refusal("rate_limit_exceeded"))
    await rig.hear(
        refusal(None), {"type": "error"}, taken("a"), refusal("invalid_value", "commit_1"), words("a", "one")
    )
    await rig.say(2)
    await rig.hear(refusal("invalid_value", "commit_2"))
    assert (rig.finals, rig.failures, len(rig.lines)) == ([(1, "one")], [(2, "invalid_value")], 1)


@pytest.mark.parametrize("code", ["insufficient_quota", "invalid_api_key", "model_not_found"])
def test_an_account_that_is_refused(code, monkeypatch):
    """It is said once, with stage and host, and every item fails with it, the later ones too."""

    @on_rig()
    async def run(rig):
        await rig.say(1)
        await rig.hear(refusal(code))
        await rig.say(2)
        await rig.wait(60)
        assert rig.failures == [(0, code), (1, code), (2, code)]
        assert all("Speech to text at twin " in fact.message for fact in rig.facts[1:])
        assert len(rig.lines) == 1

    run(monkeypatch)


@pytest.mark.parametrize("code", ["session_expired", "server_error", "internal_error"])
def test_a_session_in_trouble(code, monkeypatch):
    """Another one is opened, and has every byte that was owed or open once."""

    @on_rig()
    async def run(rig):
        await rig.say(1, frames=70)
        rig.stt.open(2)
        rig.stt.append(FRAME)
        await rig.hear(taken("a"), refusal(code))
        rig.stt.append(FRAME[::-1])
        await rig.wait(0.1)
        rig.stt.append(FRAME * 6)
        rig.stt.commit(2)
        await rig.hear(taken("c"), taken("d", "c"), words("d", "two"), words("c", "one"))
        assert rig.lines[1].committed == {1: FRAME * 70, 2: FRAME + FRAME[::-1] + FRAME * 6}
        assert (rig.finals, rig.failures) == ([(2, "two"), (1, "one")], [(0, code)])
        assert rig.connected == 2

    run(monkeypatch)


# ------------------------------------------------------------------------------------------ the server's own cuts
@on_rig(stt_model="gpt-transcribe", stt_turn_detection="server_vad")
async def test_an_item_that_the_server_cuts(rig):
    """All that the server made of it is its words, in the order of the audio; the last commit completes it."""
    rig.stt.open(1)
    rig.stt.append(FRAME * 50)
    await rig.hear(speech("started", "a"), speech("stopped", "a"), taken("a"), speech("started", "b"))
    await rig.hear(speech("stopped", "b"), taken("b", "a"), words("b", "is it"), words("a", "what time"))
    await rig.hear(words("b", "another"), words("a", {}, "failed"))
    assert rig.finals == []
    rig.stt.commit(1)
    await rig.hear(speech("started", "c"), taken("c", "b"), words("c", "now", "delta"))
    assert (rig.finals, rig.partials) == ([], [(1, "what time is it now")])
    await rig.hear(words("c", "now"))
    assert rig.finals == [(1, "what time is it now")]


@on_rig(stt_model="gpt-transcribe", stt_turn_detection="server_vad")
async def test_a_commit_that_the_server_was_faster_with(rig):
    """Our commit is refused because there is nothing left: the item has what the server committed by itself."""
    await rig.say(1)
    await rig.hear(speech("started", "a"), speech("stopped", "a"), taken("a"), refusal(EMPTY, "commit_1"))
    assert rig.finals == []
    await rig.say(2)
    await rig.hear(speech("started", "b"), taken("b", "a"), words("b", "two"), words("a", "one"))
    assert (rig.finals, rig.failures) == ([(2, "two"), (1, "one")], [])


@on_rig(stt_model="gpt-transcribe", stt_turn_detection="server_vad")
async def test_speech_that_is_never_heard_of_again(rig):
    """A speech_started after which nothing comes holds nothing up."""
    await rig.say(1)
    await rig.hear(speech("started", "x"), taken("a"), words("a", "one"))
    await rig.say(2)
    await rig.hear(speech("started", "y"), refusal(EMPTY, "commit_2"))
    assert (rig.finals, rig.failures) == ([(1, "one"), (2, "")], [])


@on_rig(stt_model="gpt-transcribe", stt_turn_detection="server_vad")
async def test_a_commit_that_is_not_answered_at_all(rig):
    """Where the server has cut everything itself and says nothing of our commit, its words are the item's, in time."""
    await rig.say(1)
    await rig.hear(speech("started", "a"), speech("stopped", "a"), taken("a"), words("a", "one"))
    await rig.wait(3.999)
    assert rig.finals == []
    await rig.wait(0.001)
    assert (rig.finals, rig.failures, len(rig.lines)) == ([(1, "one")], [], 1)


@on_rig(stt_model="gpt-transcribe", stt_turn_detection="server_vad")
async def test_one_part_that_fails(rig):
    """An item of which a part was understood has that part's words."""
    await rig.say(1)
    await rig.hear(speech("stopped", "a"), taken("a"), taken("b", "a"), words("b", "two"))
    await rig.hear(words("a", {"code": "x"}, "failed"))
    assert rig.facts[-1] == FinalTranscript(1, "two")


@pytest.mark.parametrize("rest_ms", [300, 30])
def test_the_twins_own_cuts(rest_ms, monkeypatch):
    """Through the SDK: the twin cuts one item in two; the rest, if it is worth a commit, is its third part."""
    monkeypatch.setattr(detection, "Silero", Loud)

    @virtual_time
    async def run():
        script = Script(transcripts=["what time", "is it", ""])
        settings = {"stt_model": "gpt-transcribe", "stt_turn_detection": "server_vad"}
        async with stages(script, **settings) as (engines, _, stt, facts):
            stt.open(1)
            for _ in range(2):
                stt.append(silence(400) + voice(800) + silence(512))
                await asyncio.sleep(0.5)
            stt.append(silence(rest_ms))
            stt.commit(1)
            await asyncio.sleep(1)
            assert finals(facts) == {1: "what time is it"}
            assert len(engines.of("stt_commit")) == (3 if rest_ms >= 100 else 2)
            stt.open(2)
            stt.append(silence(200))
            stt.commit(2)
            await asyncio.sleep(1)
            assert finals(facts)[2] == ""
            assert not [fact for fact in facts if isinstance(fact, SttFailed)]

    run()
