"""The records of whole sessions on virtual time: every outcome, in both modes, complete and by the published schema."""

import asyncio
import json
import re
from typing import get_args

import pytest

from tests.virtual import virtual_time
from tests.world import world
from voiceagent import protocol, recordpage
from voiceagent.events import Tuned
from voiceagent.records import COMPONENTS, MARKS, OUTCOMES, TransitionLine, TurnLine
from voiceagent.session import INBOX_FACTS
from voiceagent.simulation.lines import as_written, misfit, negatives
from voiceagent.timeline import CHAIN, SEGMENTS, Outcome, TransitionRecord
from voiceagent.twin import Script

QUESTION_MS = 800
ANSWER = "It is nine in the morning and the sun is up."
STORY = "Once upon a time there was a house. " * 8
MODES = ("cascade", "realtime")
FIXED = {"endpoint_adapts": False}


async def asked(w, leaf="listening"):
    """A question is asked, and a leaf is reached."""
    w.browser.speak(QUESTION_MS)
    await w.browser.until_leaf(leaf)


async def completes(w):
    """A question and its answer."""
    await asked(w)


async def is_typed(w):
    """The same in letters."""
    w.browser.send_up(protocol.Text(text="what time is it"))
    await w.browser.until_turns(1)


async def says_nothing(w):
    """A voice in which there are no words; a voice model answers all that it hears."""
    await asked(w)


async def is_greeted(w):
    """The agent speaks first."""
    await w.browser.until_turns(1)


async def is_interrupted(w):
    """A long voice over a reply."""
    await asked(w, "speaking")
    await asyncio.sleep(2)
    w.browser.speak(1_500)
    await w.browser.until_turns(2)


async def resumes(w):
    """A short noise over a reply."""
    await asked(w, "speaking")
    await asyncio.sleep(1.5)
    w.browser.speak(120)
    await w.browser.until_turns(2)


async def reopens(w):
    """The user goes on before anything is heard."""
    await asked(w, "thinking")
    await asyncio.sleep(0.2)
    w.browser.speak(QUESTION_MS)
    await w.browser.until_turns(2)


async def fails(w):
    """A back-end refuses all that it is asked."""
    await asked(w)


async def is_shed(w):
    """More happens than the machine takes."""
    await asked(w, "speaking")
    for _ in range(INBOX_FACTS + 1):
        w.session._post(Tuned(0.5))
    await w.browser.until(lambda: w.browser.closed)


BROKEN = {"llm_error": dict.fromkeys(range(1, 9), 400), "tts_error": dict.fromkeys(range(1, 9), 400)}
ROWS = (
    (completes, {}, {}, ["completed"]),
    (completes, {}, {"stt_turn_detection": "server_vad", "stt_model": "gpt-4o-transcribe"}, ["completed"]),
    (
        resumes,
        {"transcripts": ["a story", ""], "replies": [STORY]},
        {"stt_turn_detection": "server_vad", "stt_model": "gpt-4o-transcribe"},
        ["discarded", "resumed"],
    ),
    (says_nothing, {"transcripts": [""]}, {}, None),
    (is_greeted, {}, {"greeting": "Hello there."}, ["completed"]),
    (is_typed, {}, {}, ["completed"]),
    (is_interrupted, {"replies": [STORY, ANSWER]}, {}, ["interrupted", "completed"]),
    (resumes, {"transcripts": ["a story", ""], "replies": [STORY]}, {}, ["discarded", "resumed"]),
    (reopens, {"llm_first_token_ms": 900}, {}, ["reopened", "completed"]),
    (fails, BROKEN, {}, ["failed"]),
    (is_shed, {"replies": [STORY]}, {}, ["shed"]),
)


def checked(w):
    """All lines of a session, each of which must be whole."""
    lines = [as_written(record) for record in w.records]
    for line in lines:
        assert misfit(line) == ""
        assert list(negatives(line)) == []
    for line in lines:
        if line["event"] == "turn":
            of_a_turn(line, w.settings.mode)
    return lines


def of_a_turn(line, mode):
    """What must be on every turn's line."""
    assert (line["mode"], line["version"] != "") == (mode, True)
    assert re.fullmatch("[0-9a-f]{32}", line["trace"])
    assert (line["network"]["rtt_ms"], line["network"]["jitter_ms"]) == (0, 0)
    assert (line["residual_ms"] or 0) == 0
    assert set(line["marks_ms"]) <= set(MARKS)
    assert list(line["marks_ms"].values()) == sorted(line["marks_ms"].values())
    assert sum(map(round, (ms * 1000 for ms in line["segments_ms"].values()))) == round((line["gap_ms"] or 0) * 1000)
    assert [name for name in SEGMENTS if name in line["segments_ms"]] == list(line["segments_ms"])
    assert line["due"].keys() == line["segments_ms"].keys()
    if mode == "realtime":
        assert not {"stt_tail", "llm_ttft", "clause_wait", "tts_ttfb"} & line["segments_ms"].keys()
    if line["origin"] == "user":
        assert line["stt"]["host"].startswith("127.0.0.1")
    if line["heard_ms"]:
        assert 0 < line["heard"]["words"] <= line["heard"]["of_words"]
        assert line["marks_ms"]["playback_start"] <= line["marks_ms"]["last_audible"] <= line["duration_ms"]
        assert (line["tts"]["underruns"], line["tts"]["audio_ms"] > 0) == (0, True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("scene", "script", "settings", "outcomes"), ROWS)
def test_every_outcome(scene, script, settings, outcomes, mode):
    """However a turn ends, its record has every field, by the schema, and so have the steps that led there."""

    @virtual_time
    async def run():
        async with world(Script(**{"replies": [ANSWER], **script}), mode=mode, **FIXED, **settings) as w:
            await scene(w)
            await asyncio.sleep(1)
            here = outcomes if outcomes is not None else ["discarded" if mode == "cascade" else "completed"]
            assert [turn.outcome for turn in w.turns[: len(here)]] == here
        lines = checked(w)
        assert [line["seq"] for line in lines if line["event"] == "transition"] == list(
            range(1, len(lines) - len(w.turns) + 1)
        )
        trace = {line["trace"] for line in lines if line["event"] == "turn"}
        assert len(trace) == len(w.turns)

    run()


@virtual_time
async def test_the_work_on_a_turn():
    """What each stage did, what it took, and what that cost by the prices given: to the last token and sample."""
    prices = {
        "stt-x": {"audio_min": 0.006}, "llm-x": {"tokens_in": 2.0, "tokens_cached": 0.5, "tokens_out": 8.0},
        "tts-x": {"characters": 15.0},
    }  # fmt: skip
    models = {"stt_model": "stt-x", "llm_model": "llm-x", "tts_model": "tts-x"}
    script = Script(transcripts=["what time is it"], replies=[ANSWER], partials=False, tts_realtime_factor=0.25)
    async with world(script, prices=prices, speculate=False, **FIXED, **models) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until_turns(1)
        line = TurnLine.model_validate(as_written(w.turns[0]))
        (commit,) = w.engines.of("stt_commit")
        assert (line.stt.model, line.stt.audio_ms, line.stt.items, line.stt.retries) == (
            "stt-x",
            commit.detail / 24,
            1,
            0,
        )
        assert (line.llm.model, line.llm.finish, line.llm.attempts) == ("llm-x", "stop", 1)
        assert (line.llm.tokens_in, line.llm.tokens_out) == (
            line.usage["prompt_tokens"],
            line.usage["completion_tokens"],
        )
        assert (line.tts.model, line.tts.characters, line.tts.audio_ms) == ("tts-x", len(ANSWER) - 1, line.reply_ms)
        spoken = w.engines.of("tts_request")
        assert sum(len(entry.detail) for entry in spoken) == line.tts.characters
        assert line.heard.characters == line.heard.of_characters == len(ANSWER)
        assert line.heard.words == line.heard.of_words == len(ANSWER.split())
        cost = (
            line.stt.audio_ms / 60_000 * 0.006 + (line.llm.tokens_in * 2 + line.llm.tokens_out * 8) / 1e6
            + line.tts.characters * 15 / 1e6
        )  # fmt: skip
        assert line.cost_usd == round(cost, 9)


@virtual_time
async def test_without_a_price_there_is_no_estimate():
    """One model without a price leaves the turn without one."""
    async with world(Script(replies=[ANSWER]), prices={"llm-x": {"tokens_in": 1.0}}, llm_model="llm-x") as w:
        await asked(w)
        assert w.turns[0].cost_usd is None


@virtual_time
async def test_steps_say_what_they_started_and_ended():
    """A step names its tasks, and the next one how long those it cancelled took to end."""
    async with world(Script(replies=[STORY, ANSWER], llm_token_ms=200), filler="none", speculate=False, **FIXED) as w:
        await asked(w, "speaking")
        w.browser.send_up(protocol.Text(text="and now"))
        await w.browser.until_turns(2)
        steps = [TransitionLine.model_validate(as_written(r)) for r in w.records if isinstance(r, TransitionRecord)]
        assert [step.started for step in steps if step.started] == [("reply 1",), ("reply 3",)]
        (cut,) = [step for step in steps if step.cancelled]
        assert (cut.trigger, cut.cancelled) == ("text_submitted", ("reply 1",))
        (told,) = [step for step in steps if step.ended]
        assert told.seq == cut.seq + 1
        assert [(ended.task, ended.took_ms) for ended in told.ended] == [("reply 1", 0)]
        assert {step.loop_lag_us for step in steps} == {0}  # on a clock that stands still


@virtual_time
async def test_the_last_that_was_heard_of_a_reply():
    """It is where the hold stood still, not where the verdict came; of a whole reply it is its end."""
    script = Script(transcripts=["a story", "what time is it"], replies=[STORY, ANSWER], partials=False)
    async with world(script, speculate=False, **FIXED) as w:
        await is_interrupted(w)
        cut, whole = w.turns
        assert cut.marks["last_audible"] - cut.marks["playback_start"] == cut.heard_samples * 1_000_000 // 24_000
        assert cut.marks["hold_sent"] <= cut.marks["last_audible"] < cut.marks["flush_sent"]
        assert whole.marks["last_audible"] == whole.marks["playback_end"]


@virtual_time
async def test_a_silence_in_the_audio_is_whose_voice_it_is():
    """Leading silence is due to text to speech, or to the voice model where it speaks."""
    for mode, component in (("cascade", "tts"), ("realtime", "realtime")):
        async with world(Script(replies=[ANSWER], tts_leading_silence_ms=120), mode=mode) as w:
            await asked(w)
            line = as_written(w.turns[0])
            assert (line["segments_ms"]["leading_silence"], line["due"]["leading_silence"]) == (120, component)
            assert (
                line["marks_ms"]["tts_first_audible"]
                >= line["marks_ms"]["model_first_audio" if mode == "realtime" else "tts_first_byte"]
            )


@virtual_time
async def test_retries_and_second_attempts_are_counted():
    """A request that failed at first shows in the attempts, and a connection that was lost in the retries."""
    script = Script(replies=[ANSWER], llm_error={1: 500}, stt_drop={1})
    async with world(script, speculate=False, **FIXED) as w:
        await asked(w)
        line = as_written(w.turns[0])
        assert (line["llm"]["attempts"], line["llm"]["finish"]) == (2, "stop")
        assert line["stt"]["retries"] == 1


@virtual_time
async def test_what_was_prepared_in_vain_is_on_the_record_of_a_discarded_turn():
    """A turn whose last words never come to an answer tells what its early reply cost all the same."""
    async with world(Script(replies=[STORY], llm_token_ms=50), endpoint_ms=900, **FIXED) as w:
        w.browser.speak(QUESTION_MS)
        await w.browser.until(lambda: w.engines.of("tts_request"))
        w.browser.leave()
        await w.ending
        (turn,) = w.turns
        assert (turn.speculation.tries, turn.speculation.hit) == (1, False)
        assert turn.speculation.wasted_characters == len(w.engines.of("tts_request")[0].detail)


def test_the_components():
    """Every segment has one, and there are no others."""
    assert COMPONENTS.keys() == set(SEGMENTS)


# ------------------------------------------------------------------------------------------ the published schema
def test_every_field_is_explained():
    """A field without a meaning is none, and so is a mark or an outcome that the page does not name."""
    models = [TurnLine, TransitionLine, *recordpage._parts()]
    bare = [
        f"{model.__name__}.{name}"
        for model in models
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert bare == []
    assert OUTCOMES.keys() == set(get_args(Outcome))
    assert MARKS.keys() >= {mark for _, mark in CHAIN}


def test_the_schema_is_stricter_than_nothing():
    """The JSON Schema knows the fields, what each may be, and that there is nothing below zero."""
    for name, model in recordpage.LINES.items():
        schema = json.loads(recordpage.schema(name))
        fields = {field.alias or key for key, field in model.model_fields.items()}
        assert (schema["properties"].keys(), schema["$id"]) == (fields, name)
    assert schema["properties"]["dwell_us"] == {
        "description": TransitionLine.model_fields["dwell_us"].description,
        "minimum": 0, "title": "Dwell Us", "type": "integer",
    }  # fmt: skip


def test_a_misfit_is_told():
    """A field that is missing, too much, below zero or of another kind is named."""
    whole = as_written(TransitionRecord(1, 5, 0, 0, "listening", "voice_on", "transcribing_open", 5, None, ""))
    assert misfit(whole) == ""
    assert misfit(whole | {"more": 1}) == "unlike the schema: ['more']"
    assert misfit({name: value for name, value in whole.items() if name != "inbox"}) == "unlike the schema: ['inbox']"
    assert misfit(whole | {"inbox": -1}) == "inbox: Input should be greater than or equal to 0"
    assert list(negatives({"a": [{"b": -1, "offset_ms": -1}]})) == ["b is -1"]
