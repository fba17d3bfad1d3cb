"""A whole session for a test: the real driver and the real SDK, the scripted twin on a socket, a caller in software."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from voiceagent.endpointing import EndpointConfig, Endpointer
from voiceagent.hooks import Hooks
from voiceagent.session import Session
from voiceagent.settings import Settings
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients
from voiceagent.stages.ports import Stages
from voiceagent.stages.speech_to_speech import speech_to_speech
from voiceagent.testing.browser import Browser
from voiceagent.testing.caller import Caller
from voiceagent.testing.twin import scripted_twin
from voiceagent.timeline import TransitionRecord, TurnRecord
from voiceagent.twin import FaultPlan, Script

SETTLING_S = 1.0
"""Before the test begins: the clocks are known, the noise floor too."""
CLOSING_S = 0.2
"""After it: the twin's side of the closed connections."""
OFFLINE: dict[str, Any] = {
    "backend": "local", "openai_api_key": None, "azure_endpoint": None, "azure_api_key": None,
    "wire_log": None, "log_file": None,
    **{f"{stage}_{what}": None for stage in ("stt", "llm", "tts", "realtime") for what in ("base_url", "api_key")},
}  # fmt: skip
"""A test reaches nobody's service and writes no file, whatever settings it is given."""

VoiceAgent = Callable[..., AbstractAsyncContextManager[Caller]]
"""The type of the fixture `voice_agent`: it takes what `agent` takes."""


class _Shipped(Settings):
    """Settings that nothing but their defaults and arguments decide: no environment, no ``.env``."""

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *others: Any, **named: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del settings_cls, others, named
        return (init_settings,)


def settings_for_test(settings: Settings | None = None, **changes: Any) -> Settings:
    """Return these settings, or those that are shipped, with changes, and the twin in place of every service.

    Raises pydantic's `ValidationError`.
    """
    given = {} if settings is None else {name: getattr(settings, name) for name in settings.model_fields_set}
    return _Shipped(**{**given, **changes, **OFFLINE})


@asynccontextmanager
async def agent(
    script: Script | None = None, settings: Settings | None = None, hooks: Hooks | None = None,
    *, faults: FaultPlan | None = None, **changes: Any,
) -> AsyncIterator[Caller]:  # fmt: skip
    """Begin a session as `create_app(settings, hooks)` would, and yield its caller, who has been silent for a second.

    `script` is what the models hear and answer and how long they take, `faults` what goes wrong before them; `changes`
    are single settings. Other than in the server the ears have no model of speech, as a caller's voice is a tone:
    what is loud for `min_speech_ms` is speech; and what an observer raises ends the session and fails the test.
    Raises `AssertionError` if a task is left when all has ended.
    """
    chosen, hooks = settings_for_test(settings, **changes), hooks or Hooks()
    async with scripted_twin(script, faults=faults) as twin:
        clients = Clients(chosen, twin.base_url)
        try:
            await clients.warm()
            before = asyncio.all_tasks()
            caller = Caller(Browser(), twin.engines, chosen, clients)
            async with _session(caller, hooks, _stages(clients, chosen, hooks)):
                await asyncio.sleep(SETTLING_S)
                yield caller
        finally:
            await clients.aclose()
        await asyncio.sleep(CLOSING_S)
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
        if left:
            raise AssertionError(f"tasks that are left: {left}")


def _stages(clients: Clients, settings: Settings, hooks: Hooks) -> Stages:
    stages = cascade(clients, settings)
    if settings.mode == "realtime":
        stages = speech_to_speech(clients, settings, stages)
    return stages if hooks.stages is None else hooks.stages(stages)


@asynccontextmanager
async def _session(caller: Caller, hooks: Hooks, stages: Stages) -> AsyncIterator[None]:
    """Run the session and its browser; when the context is left, both have ended."""
    settings, browser = caller.settings, caller.browser

    def record(session: str, told: TransitionRecord | TurnRecord) -> None:
        caller.take(told)
        for observer in hooks.observers:
            if isinstance(told, TransitionRecord):
                observer.transition(session, told)
            else:
                observer.turn(session, told)

    caller.session = Session(
        "test", browser, settings, stages, Endpointer(EndpointConfig.from_settings(settings)), record=record,
        tools=tuple(hooks.tools) if settings.tools else (),
        turn_model=hooks.turn_model() if hooks.turn_model is not None else None,
    )  # fmt: skip
    caller.ending = asyncio.create_task(caller.session.run())
    caller.ending.add_done_callback(lambda _: browser.changed())
    life = asyncio.create_task(browser.live())
    try:
        yield
    finally:
        life.cancel()
        browser.leave()
        await asyncio.wait({life, caller.ending})
    caller.ending.result()
