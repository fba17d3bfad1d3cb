"""Whole sessions with one voice model, on virtual time: the real driver and the real SDK against the twin's conversation."""

import asyncio

from tests.virtual import virtual_time
from tests.world import world
from voiceagent import protocol
from voiceagent.timeline import Connection
from voiceagent.tools import Tool
from voiceagent.twin import FaultPlan, Script
from voiceagent.twin.ports import FunctionCall

QUESTION_MS = 800
FIXED = {"mode": "realtime", "endpoint_adapts": False}  # the wait is `endpoint_ms`
ANSWER = "It is nine in the morning. The sun is up."
STORY = "Once upon a time there was a house. " * 8


def dialog(w, number):
    """What the model knew at one of its answers, without the instructions: (role, text)."""
    messages = w.engines.of("llm_request")[number].detail
    return [(message["role"], message["content"]) for message in messages if message["role"] != "system"]


@virtual_time
async def test_a_question_is_answered():
    """Thinking starts at the commit; the model's time to first audio is one segment; the words come beside it."""
    script = Script(transcripts=["what time is it"], replies=[ANSWER])
    async with world(script, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        (turn,) = await w.browser.until_turns(1)
        assert w.browser.states == ["transcribing_open", "transcribing_ended", "thinking", "speaking", "listening"]
        assert (turn.outcome, turn.basis) == ("completed", "heard")
        # The twin's model: 50 ms to hear, 100 to the first token, five more to the sentence's end, 80 to the first audio.
        assert {name: ms for name, ms in turn.segments.items() if ms} == {
            "endpoint_wait": 500, "model_ttfa": 280, "playback": 40,
        }  # fmt: skip
        assert w.turns[0].gap.residual_us == 0
        assert w.turns[0].connections == {"realtime": Connection(0, reused=False)}
        assert w.browser.of(protocol.Heard)[0].text == ANSWER
        assert [message.text for message in w.browser.of(protocol.Transcript)][-1] == "what time is it"
        assert bytes(w.browser.speaker.heard) == b"".join(
            w.engines.audio(entry.detail) for entry in w.engines.of("tts_request")
        )
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(2)
        assert w.turns[1].connections == {"realtime": Connection(0, reused=True)}
        assert dialog(w, 1) == [("user", "what time is it"), ("assistant", ANSWER), ("user", "what time is it")]


@virtual_time
async def test_one_commit_a_turn():
    """A pause inside a turn commits nothing: the model hears one item, and nothing is prepared early."""
    async with world(Script(), **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await asyncio.sleep(QUESTION_MS / 1000 + 0.3)
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        (commit,) = w.engines.of("stt_commit")
        assert commit.detail >= 24 * (2 * QUESTION_MS + 300 + 500)
        assert len(w.engines.of("llm_request")) == 1


@virtual_time
async def test_a_barge_in():
    """Voice that lasts interrupts by its duration; the model remembers the story up to the word that was heard."""
    async with world(Script(transcripts=["a story", "stop it"], replies=[STORY, ANSWER]), **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(4)
        w.browser.speak(1_500)
        await w.browser.until_turns(2)
        first = w.turns[0]
        assert (first.outcome, first.barge_ins[0].verdict, first.barge_ins[0].reason) == (
            "interrupted", "confirmed", "voiced",
        )  # fmt: skip
        heard = w.browser.of(protocol.Heard)[0]
        assert heard.interrupted
        assert STORY.startswith(heard.text)
        assert 60 < len(heard.text) < 90
        asked = dialog(w, 1)
        assert asked[0] == ("user", "a story")
        assert asked[1][0] == "assistant"
        assert heard.text == f"{asked[1][1]} house."  # half of the last word was heard; the model counts whole ones
        assert asked[2] == ("user", "stop it")


@virtual_time
async def test_a_short_sound_is_forgotten():
    """A short voice over the reply holds it and lets it go on; the model never hears of it."""
    async with world(Script(transcripts=["a story", "mm-hm", "thanks"], replies=[STORY, ANSWER]), **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(2)
        w.browser.speak(300)
        await w.browser.until_turns(2)
        assert {turn.turn: turn.outcome for turn in w.turns} == {1: "resumed", 2: "discarded"}
        assert len(w.engines.of("llm_request")) == 1
        assert len(w.browser.speaker.heard) // 2 == w.turns[-1].reply_samples
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(3)
        assert [role for role, _ in dialog(w, 1)] == ["user", "assistant", "user"]


@virtual_time
async def test_a_short_stop():
    """Its length lets the reply go on; its words, once they are there, stop it after all, and the model knows them."""
    script = Script(transcripts=["a story", "stop", "thanks"], replies=[STORY, ANSWER])
    async with world(script, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(2)
        w.browser.speak(400)
        await w.browser.until_turns(2)
        assert [turn.outcome for turn in w.turns] == ["interrupted", "completed"]
        rejected, confirmed = w.turns[0].barge_ins
        assert (rejected.verdict, rejected.reason) == ("rejected", "silence")
        assert (confirmed.verdict, confirmed.reason) == ("confirmed", "late words")
        assert rejected.onset_us == confirmed.onset_us
        assert rejected.verdict_us < confirmed.verdict_us == confirmed.yield_us == 750_000
        assert [user for role, user in dialog(w, 1) if role == "user"] == ["a story", "stop"]


@virtual_time
async def test_speaking_on_before_the_reply():
    """Who speaks on while the model thinks has one turn: its answer is cancelled and forgotten, the next one is to all of it."""
    script = Script(transcripts=["what time is it", "in paris"], replies=["Unheard.", ANSWER], llm_first_token_ms=900)
    async with world(script, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("thinking")
        await asyncio.sleep(0.2)
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("listening")
        assert [turn.outcome for turn in w.turns] == ["reopened", "completed"]
        assert w.engines.of("llm_cancelled")
        assert dialog(w, 1) == [("user", "what time is it"), ("user", "in paris")]
        assert w.browser.of(protocol.Transcript)[-1].text == "what time is it in paris"


@virtual_time
async def test_typing():
    """A typed line is answered; typing over a reply cuts it at once."""
    async with world(Script(replies=[STORY, ANSWER]), **FIXED) as w:
        w.browser.send_up(protocol.Text(text="a story"))
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(2)
        w.browser.send_up(protocol.Text(text="what time is it"))
        await w.browser.until_turns(2)
        assert [turn.outcome for turn in w.turns] == ["interrupted", "completed"]
        asked = dialog(w, 1)
        assert asked[0] == ("user", "a story")
        assert asked[-1] == ("user", "what time is it")
        assert asked[1][0] == "assistant"
        assert STORY.startswith(asked[1][1])


@virtual_time
async def test_a_function():
    """The model calls a function in the middle of its reply, and says what came of it."""
    called = []

    def clock() -> str:
        """Tell the time."""
        called.append("clock")
        return "noon"

    script = Script(replies=["", "It is noon."], llm_call={1: FunctionCall("clock", "{}")})
    async with world(script, tools=(Tool.from_function(clock),), **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        (turn,) = await w.browser.until_turns(1)
        assert turn.outcome == "completed"
        assert called == ["clock"]
        assert w.browser.of(protocol.Heard)[0].text == "It is noon."


@virtual_time
async def test_greeting_and_question():
    """The agent's own words are spoken by the model to the letter; no answer is made up for them."""
    async with world(Script(), greeting="Good day to you.", ask_after_s=5, ask="Still there?", **FIXED) as w:
        await w.browser.until_turns(2)
        assert [heard.text for heard in w.browser.of(protocol.Heard)] == ["Good day to you.", "Still there?"]
        assert w.engines.of("llm_request") == []


@virtual_time
async def test_failure_and_recovery():
    """An answer that fails is told on the page, and the next turn works."""
    async with world(Script(transcripts=["one", "two"], replies=[ANSWER], llm_error={1: 400, 2: 400}), **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        assert [notice.code for notice in w.browser.of(protocol.Notice)][-1] == "no_voice"
        assert w.turns[0].outcome == "failed"
        if len(w.engines.of("llm_request")) == 1:
            w.engines.script.llm_error.clear()
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(2)
        assert w.turns[1].outcome == "completed"


@virtual_time
async def test_words_after_their_turn():
    """Words that come only after their reply was cut off, and the next one heard, reach the page and what is remembered."""
    late = FaultPlan({"fault": "swap", "behind": "nothing", "hold_ms": 6_000})
    script = Script(transcripts=["a story", "stop it"], replies=[STORY, ANSWER])
    async with world(script, faults=late, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(1)
        w.browser.speak(1_500)
        await w.browser.until_turns(2)
        assert [turn.outcome for turn in w.turns] == ["interrupted", "completed"]
        await asyncio.sleep(6)
        words = [(words.turn, words.text) for words in w.browser.of(protocol.Transcript) if words.final]
        assert words == [(2, "stop it"), (1, "a story")]
        w.browser.send_up(protocol.HangUp())
        past = (await w.ending).past
        assert [(turn.user, turn.reply) for turn in past] == [
            ("a story", w.browser.of(protocol.Heard)[0].text), ("stop it", ANSWER),
        ]  # fmt: skip


@virtual_time
async def test_an_answer_without_a_sound():
    """It is the voice model's trouble, told with its host; nothing is said aloud, and the next turn works."""
    async with world(Script(transcripts=["one", "two"], replies=["", ANSWER]), **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        notices = [(notice.code, notice.message) for notice in w.browser.of(protocol.Notice)]
        host = w.clients.endpoints["realtime"].host
        assert notices[0] == ("realtime_failed", f"The voice model at {host} gave no answer.")
        assert [code for code, _ in notices] == ["realtime_failed", "no_voice"]
        assert [(fault.stage, fault.code) for fault in w.turns[0].faults] == [("realtime", "empty_reply")]
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(2)
        assert [turn.outcome for turn in w.turns] == ["failed", "completed"]
        assert [heard.text for heard in w.browser.of(protocol.Heard)] == [ANSWER]


@virtual_time
async def test_half_duplex_and_talk_key():
    """The talk key decides about the floor with a voice model, too."""
    async with world(Script(replies=[STORY, ANSWER]), barge_in=False, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_leaf("speaking")
        await asyncio.sleep(1)
        w.browser.speak(2_000)
        await asyncio.sleep(2.5)
        assert w.browser.states[-1] == "speaking"
        w.browser.send_up(protocol.PushToTalk(down=True))
        w.browser.speak(QUESTION_MS)
        await asyncio.sleep(1)
        w.browser.send_up(protocol.PushToTalk(down=False))
        await w.browser.until_turns(2)
        assert [turn.outcome for turn in w.turns] == ["interrupted", "completed"]
