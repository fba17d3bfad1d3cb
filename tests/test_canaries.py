"""Canaries: what was said is in no line but where a setting asks for it, and a key is nowhere, whatever a server echoes."""

import asyncio
import io
import json

import pytest

from tests.canaries import ANSWER, CALLED, HEARD, KEY, TOKEN, TYPED, secrets_in, without_content, words_in
from tests.virtual import virtual_time
from tests.world import World
from voiceagent import protocol
from voiceagent.hooks import Hooks
from voiceagent.logs import RecordLog
from voiceagent.settings import Settings
from voiceagent.simulation.lines import misfit, negatives
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.stages.speech_to_speech import speech_to_speech
from voiceagent.testing.session import agent
from voiceagent.tools import Tool
from voiceagent.twin import FaultPlan, Script, ScriptedEngines, TwinServer, create_twin
from voiceagent.twin.ports import FunctionCall

QUESTION_MS = 800
ECHO = f"Incorrect API key provided: {KEY} ({TOKEN}). You said: {HEARD}"
ODD = f"{KEY} {HEARD}"
FAULTS = {
    "llm": [
        {"fault": "refuse", "stage": "llm", "nth": 2, "status": 401, "message": ECHO, "code": ODD},
        {"fault": "error", "stage": "llm", "nth": 3, "after_events": 3, "message": ECHO, "code": ODD, "type": ODD},
        {"fault": "refuse", "stage": "llm", "nth": 4, "status": 400, "message": ECHO, "code": KEY},
    ],
    "tts": [
        {"fault": "refuse", "stage": "tts", "nth": 1, "status": 403, "message": ECHO, "code": ODD},
        {"fault": "error", "stage": "tts", "nth": 2, "message": ECHO, "code": ODD, "type": ODD},
    ],
    "stt": [
        {"fault": "failed_transcript", "stage": "stt", "nth": 1, "event_nth": 1, "message": ECHO, "code": ODD},
        {"fault": "error", "stage": "stt", "nth": 1, "after_events": 9, "message": ECHO, "code": ODD, "type": ODD},
    ],
    "realtime": [
        {"fault": "reject", "stage": "realtime", "nth": 1, "event": "response.create", "event_nth": 1,
         "message": ECHO, "code": ODD},
        {"fault": "failed_transcript", "stage": "realtime", "nth": 1, "event_nth": 1, "message": ECHO, "code": ODD},
        {"fault": "error", "stage": "realtime", "nth": 1, "after_events": 25, "message": ECHO, "code": ODD, "type": ODD},
        {"fault": "refuse", "stage": "realtime", "nth": 2, "status": 401, "message": ECHO, "code": ODD},
    ],
}  # fmt: skip


def parlour(what: str) -> str:
    """Book something."""
    raise RuntimeError(f"no {what} for {KEY}")


async def conversation(w):
    """Spoken, typed, interrupted, with a function that fails."""
    browser = w.browser
    for turn in range(1, 5):
        browser.speak(QUESTION_MS)
        await browser.until_turns(turn)
    browser.send_up(protocol.Text(text=TYPED))
    await asyncio.sleep(1)
    browser.speak(1_500)
    await asyncio.sleep(8)
    browser.send_up(protocol.HangUp())
    await browser.until(lambda: browser.closed)


async def told_of(stage, **settings):
    """The lines that a session has written, and its world."""
    script = Script(
        transcripts=[HEARD], replies=[ANSWER], partials=False,
        llm_call={1: FunctionCall("parlour", json.dumps({"what": CALLED}))},
    )  # fmt: skip
    chosen = {"endpoint_ms": 500, "endpoint_adapts": False, "access_token": TOKEN, "log_format": "json", **settings}
    engines, stream = ScriptedEngines(script), io.StringIO()
    async with TwinServer(create_twin(engines, faults=FaultPlan(FAULTS.get(stage, [])))) as twin:
        paid = Settings(
            _env_file=None, backend="openai", openai_base_url=twin.base_url, openai_api_key=KEY, tts_api="speech",
            tts_model="gpt-4o-mini-tts", **chosen,
        )  # fmt: skip
        clients = Clients(paid, None)
        stages = cascade(clients, paid)
        stages = speech_to_speech(clients, paid, stages) if paid.mode == "realtime" else stages
        hooks = Hooks(tools=(Tool.from_function(parlour),), stages=lambda _: stages)
        async with agent(Script(), None, hooks, **chosen) as caller:
            await conversation(caller)
        await clients.aclose()
        await asyncio.sleep(0.2)
        log = RecordLog(paid, stream)
        log.start()
        for record in caller.records:
            log.record("test", record)
        for message in caller.browser.of(protocol.Notice) + caller.browser.of(protocol.Error):
            log.warning("told", sentence=message.message)
        log.close()
    assert len(engines.of("llm_request")) > 1
    return stream.getvalue().splitlines(), World(caller)


MODES = [
    ("cascade", "llm"),
    ("cascade", "tts"),
    ("cascade", "stt"),
    ("cascade", ""),
    ("realtime", "realtime"),
    ("realtime", ""),
]


@pytest.mark.parametrize(("mode", "stage"), MODES)
def test_nothing_sings(mode, stage):
    """At the usual settings neither a word nor a key is in the log or in what the page is told of failures."""

    @virtual_time
    async def run():
        lines, w = await told_of(stage, mode=mode)
        assert len(w.turns) > 3
        text = "\n".join(lines)
        assert (secrets_in(text), words_in(text)) == ([], [])
        said = "".join(message.model_dump_json() for _, message in w.browser.seen)
        assert secrets_in(said) == []
        for line in map(json.loads, lines):
            if line["event"] in {"turn", "transition"}:
                assert (misfit(line), list(negatives(line))) == ("", [])
        if stage:
            assert any(record.faults for record in w.turns)

    run()


@pytest.mark.parametrize(("mode", "stage"), MODES)
def test_texts_are_under_content(mode, stage):
    """With `log_content` the words are there, and in one place; the keys are not."""

    @virtual_time
    async def run():
        lines, _ = await told_of(stage, mode=mode, log_content=True)
        assert secrets_in("\n".join(lines)) == []
        assert words_in("\n".join(map(without_content, lines))) == []
        assert words_in("\n".join(lines)) != []
        for line in map(json.loads, lines):
            if line["event"] == "turn":
                assert set(line["content"]) <= {"user", "reply", "heard"}
                assert misfit(line) == ""

    run()
