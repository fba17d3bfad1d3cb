"""What users test their agents with: the caller, the settings, hooks and faults of a session on virtual time."""

import asyncio
from dataclasses import replace

import pytest

from tests.virtual import virtual_time
from voiceagent.hooks import Hooks
from voiceagent.settings import Settings
from voiceagent.stages.ports import Delta
from voiceagent.testing import FunctionCall, Script, agent, scripted_twin, settings_for_test
from voiceagent.timeline import TurnRecord
from voiceagent.twin import FaultPlan

FIXED = {"endpoint_ms": 500, "endpoint_adapts": False}
STORY = "Once upon a time there was a house. " * 8


async def test_a_question(voice_agent):
    """The record of a turn is a line of the log, exact to the microsecond; the path begins in listening."""
    async with voice_agent(Script(transcripts=["what time is it"], replies=["It is nine."]), **FIXED) as caller:
        assert (caller.path, caller.now_ms) == (["listening"], 1_000)
        caller.speak(800)
        turn = await caller.turn_over()
        assert caller.turns == [turn]
        assert (turn.outcome, turn.origin, turn.gap_ms, turn.hidden_ms) == ("completed", "user", 540, 250)
        assert caller.path == [
            "listening",
            "transcribing_open",
            "transcribing_ended",
            "thinking",
            "speaking",
            "listening",
        ]
        assert caller.heard == ["It is nine."]
        assert caller.requests("tts") == ["It is nine."]
        assert caller.notices == []


async def test_states_are_not_missed(voice_agent):
    """A state that was gone through since the caller's last act has come; one of the turn before has not."""
    async with voice_agent(Script(replies=["Yes."]), **FIXED) as caller:
        caller.speak(800)
        await caller.until("listening")  # the present one
        await caller.wait(5_000)
        await caller.until("transcribing")
        await caller.until("speaking")
        await caller.until("listening")
        before_ms = caller.now_ms
        caller.speak(800)
        await caller.until("speaking")
        assert caller.now_ms > before_ms + 800
        assert caller.path.count("speaking") == 2


async def test_what_does_not_come_is_told(voice_agent):
    """In vain is a failure that says where the agent went; so is the end of the session; a misspelt state is an error."""
    async with voice_agent(Script()) as caller:
        with pytest.raises(
            AssertionError, match="waited 2000 ms in vain for speaking; the agent went through listening$"
        ):
            await caller.until("speaking", limit_ms=2_000)
        with pytest.raises(AssertionError, match="2000 ms in vain for 50 ms of a reply"):
            await caller.until_heard(50, limit_ms=2_000)
        with pytest.raises(ValueError, match="no state 'speeking': barge_in, "):
            await caller.until("speeking")
        caller.hang_up()
        with pytest.raises(AssertionError, match="the end of turn record 1, and the session has ended: hung_up"):
            await caller.turn_over()
        await caller.until("closed")


async def test_typing_the_talk_key_and_muting(voice_agent):
    """A typed line needs no voice; while the key is down no pause ends a turn; muting ends it."""
    async with voice_agent(Script(replies=["Yes."]), **FIXED) as caller:
        caller.type("hello")
        assert (await caller.turn_over()).origin == "text"
        caller.talk_key(down=True)
        caller.speak(300)
        await caller.wait(2_000)
        assert caller.path[-1] == "transcribing_open"
        caller.talk_key(down=False)
        assert (await caller.turn_over()).outcome == "completed"
        caller.speak(2_000)
        await caller.wait(1_000)
        caller.mute(muted=True)
        await caller.until("transcribing_ended", limit_ms=10)
        caller.vanish()
        assert (await caller.ending).reason == "disconnected"


async def test_a_function_is_called(voice_agent):
    """The tools of the hooks are offered; the setting switches them off."""
    script = Script(llm_call={1: FunctionCall("current_time", '{"timezone": "UTC"}')}, replies=["", "Nine."])
    async with voice_agent(script) as caller:
        caller.type("what time is it")
        await caller.turn_over()
        assert caller.requests()[-1][-1]["role"] == "tool"
    async with voice_agent(script, tools=False) as caller:
        caller.type("what time is it")
        await caller.turn_over()
        assert caller.requests()[-1][-1]["content"] == "Error: there is no such function."


async def test_faults(voice_agent):
    """A plan of faults stands before the script, and what the agent says of it is known."""
    plan = FaultPlan({"fault": "refuse", "status": 503, "stage": "llm"})
    async with voice_agent(Script(), faults=plan) as caller:
        caller.type("hello")
        assert (await caller.turn_over()).outcome == "failed"
        (notice,) = set(caller.notices)
        assert notice.startswith("The language model at 127.0.0.1")


class Rule:
    """A model that answers by rule."""

    def reply(self, messages, tools):
        return self

    async def __aenter__(self):
        return self._words()

    async def __aexit__(self, *_):
        pass

    async def _words(self):
        yield Delta("By rule.")


class Seen:
    """An observer that keeps what it gets, and may fail."""

    def __init__(self, fails=False):
        self.records, self.fails = [], fails

    def transition(self, session, record):
        self.records.append(record)

    def turn(self, session, record):
        self.records.append(record)
        if self.fails:
            raise ZeroDivisionError


async def test_hooks(voice_agent):
    """Stages and observers are the user's own: the observer gets all records, the stage answers."""
    seen = Seen()
    hooks = Hooks(observers=[seen], stages=lambda stages: replace(stages, llm=Rule()))
    async with voice_agent(Script(), hooks=hooks) as caller:
        caller.type("hello")
        await caller.turn_over()
        assert caller.heard == ["By rule."]
        assert caller.requests("llm") == []
        assert seen.records == caller.records
        assert isinstance(seen.records[-1], TurnRecord)


@virtual_time
async def test_an_observer_that_fails():
    """In a test it is not passed over: whoever waits gets what it raised."""
    with pytest.raises(BaseExceptionGroup) as caught:
        async with agent(Script(), hooks=Hooks(observers=[Seen(fails=True)])) as caller:
            caller.type("hello")
            await caller.until("closed")
    assert caught.group_contains(ZeroDivisionError)


async def test_one_voice_model(voice_agent):
    """The other mode is a setting like any other."""
    async with voice_agent(Script(replies=["Yes."]), mode="realtime") as caller:
        caller.speak(800)
        turn = await caller.turn_over()
        assert (turn.mode, turn.outcome, caller.heard) == ("realtime", "completed", ["Yes."])
        assert "model_ttfa" in turn.segments_ms


@virtual_time
async def test_a_task_that_is_left():
    """What a user's stage starts and does not end fails the test."""
    left = []

    def careless(stages):
        async def warm():
            left.append(asyncio.create_task(asyncio.sleep(1_000)))

        return replace(stages, warm=warm)

    with pytest.raises(AssertionError, match="tasks that are left"):
        async with agent(Script(), hooks=Hooks(stages=careless)):
            pass
    left[0].cancel()


def test_settings(monkeypatch, tmp_path):
    """Nobody's service is reached and no file is written; the environment counts only where settings are given."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("VOICEAGENT_ENDPOINT_MS", "700")
    monkeypatch.setenv("VOICEAGENT_LLM_BASE_URL", "http://models.example/v1")
    shipped = settings_for_test()
    assert (shipped.endpoint_ms, shipped.is_local) == (650, True)
    theirs = Settings(_env_file=None, instructions="Be brief.", log_file=tmp_path / "log")
    ours = settings_for_test(theirs, pause_ms=200)
    assert (ours.endpoint_ms, ours.pause_ms, ours.instructions) == (700, 200, "Be brief.")
    assert (ours.is_local, ours.openai_api_key, ours.llm_base_url, ours.log_file) == (True, None, None, None)
    with pytest.raises(ValueError, match="pause_ms must not exceed endpoint_ms"):
        settings_for_test(pause_ms=5_000)


async def test_a_twin_alone(scripted_twin, virtual_time):
    """Any client of OpenAI's may be tested against a script, by the virtual clock."""
    from openai import AsyncOpenAI

    async with scripted_twin(Script(replies=["Good morning."], llm_first_token_ms=300, llm_token_ms=50)) as twin:
        async with AsyncOpenAI(base_url=twin.base_url, api_key="any") as client:
            before_ms = virtual_time.now_ms
            said = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
            assert said.choices[0].message.content == "Good morning."
            assert virtual_time.now_ms - before_ms == 350
        assert len(twin.engines.of("llm_request")) == 1


def test_a_twin_without_the_plugin():
    """The same context for whoever runs a loop of their own."""

    async def run():
        async with scripted_twin() as twin:
            return twin.base_url

    assert asyncio.run(run()).startswith("http://127.0.0.1:")
