"""A session that goes through one fault of a back-end, and what must be true of it: for the tables of such faults."""

import re

import pytest

from tests.virtual import virtual_time
from tests.world import world
from voiceagent import protocol
from voiceagent.twin import FaultPlan, Script

QUESTION_MS = 800
LONGEST_TURN_S = 25
ANSWER = "It is nine in the morning and the sun is up."
NAMES = {"stt": "Speech to text", "llm": "The language model", "tts": "Text to speech", "realtime": "the voice model"}
COMPLETED = "*input_audio_transcription.completed"
UP = {"direction": "up"}

ANSWERED = "answered"  # as if nothing had been
APOLOGY = "apology"  # "Sorry, something went wrong"
AGAIN = "again"  # "Sorry, I did not catch that"
CUT = "cut"  # the beginning of the answer
SILENT = "silent"  # nothing could be said aloud
ENDED = "ended"  # somehow, in time
NOTHING = "nothing"  # the turn had no words
SAID = {
    APOLOGY: r"Sorry, something went wrong .*", AGAIN: r"Sorry, I did not catch that.*", ANSWERED: re.escape(ANSWER),
}  # fmt: skip


def row(stage, becomes, fault, **fields):
    """One fault of the table; it strikes the first request or connection of the stage."""
    shown = " ".join(f"{name}={value}" for name, value in fields.items())
    return pytest.param({"fault": fault, "stage": stage, "nth": 1, **fields}, becomes, id=f"{stage} {fault} {shown}")


def through(rule, becomes, blamed=None, **settings):
    """Let the first turn meet the fault; it becomes what the table says, it is told why, and the next turn works."""
    plan = FaultPlan(rule)

    @virtual_time
    async def run():
        script = Script(transcripts=["what time is it"], replies=[ANSWER], partials=False)
        async with world(script, faults=plan, **settings) as w:
            w.browser.speak(QUESTION_MS)
            await w.browser.until(lambda: w.browser.of(protocol.TurnDone), LONGEST_TURN_S)
            assert plan.counts
            first(w, becomes)
            told(w, becomes, blamed or rule["stage"])
            said = len(w.browser.of(protocol.Heard))
            w.browser.speak(QUESTION_MS)
            await w.browser.until_turns(2)
            heard = [message.text for message in w.browser.of(protocol.Heard)[said:]]
            if lasts(rule):  # what was refused for good is not asked again
                assert heard == [] or re.fullmatch(SAID[AGAIN], heard[0])
            else:
                assert heard == [ANSWER]
            assert w.browser.closed is None

    run()


def lasts(rule):
    """Whether the session of a stage is refused for good: it is not opened again."""
    if rule["stage"] not in {"stt", "realtime"}:
        return False
    refused = rule["fault"] == "html" or rule.get("status") in {401, 403, 404}
    return refused or rule.get("code") == "invalid_api_key" or rule.get("event") == "session.update"


def first(w, becomes):
    """What the first turn came to."""
    (turn,) = w.browser.of(protocol.TurnDone)
    heard = [message.text for message in w.browser.of(protocol.Heard)]
    ends = {ANSWERED: "completed", AGAIN: "completed", NOTHING: "discarded", ENDED: turn.outcome}
    assert turn.outcome == ends.get(becomes, "failed")
    if becomes == CUT:
        assert ANSWER.startswith(heard[0])
        assert 0 < len(heard[0]) < len(ANSWER)
    elif becomes in SAID:
        assert len(heard) == 1
        assert re.fullmatch(SAID[becomes], heard[0])
    elif becomes != ENDED:
        assert heard == []


def told(w, becomes, stage):
    """Notices name the stage, the host and the cause, in words; there is one where the user did not get the answer."""
    notices = [notice for notice in w.browser.of(protocol.Notice) if notice.code != "no_voice"]
    codes = {f"{stage}_failed"} | ({"stt_failed"} if stage == "realtime" else set())  # the voice model hears, too
    assert {notice.code for notice in notices} <= codes
    for notice in notices:
        assert not re.search(r"\w(Error|Exception)\b", notice.message), notice
    if becomes in {APOLOGY, CUT, SILENT} or (becomes == AGAIN and notices):
        (sentence,) = {notice.message for notice in notices}
        assert NAMES[stage].lower() in sentence.lower()
        assert f" {w.clients.endpoints[stage].host}" in sentence
        assert sentence.endswith(".")
    assert w.browser.of(protocol.Error) == []
