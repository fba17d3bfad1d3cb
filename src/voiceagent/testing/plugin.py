"""The pytest plugin: fixtures for tests on virtual time. A test that asks for none of them notices nothing of it."""

import inspect
from collections.abc import Callable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # pytest loads this module in every run: what it imports, everybody waits for
    from voiceagent.testing.clock import VirtualTime
    from voiceagent.testing.session import VoiceAgent
    from voiceagent.testing.twin import ScriptedTwin

LONGEST_TEST_S = 3_600
"""Of virtual time: a test that waits for nothing would else turn for ever."""


@pytest.fixture
def virtual_time() -> "VirtualTime":
    """Run the async test on a clock that jumps; its value tells the time: `virtual_time.now_ms`."""
    from voiceagent.testing.clock import VirtualTime

    return VirtualTime()


@pytest.fixture
def scripted_twin(virtual_time: "VirtualTime") -> "Callable[..., AbstractAsyncContextManager[ScriptedTwin]]":
    """Models in software for any client of OpenAI's.

    ``async with scripted_twin(Script(…)) as twin:`` serves a script at `twin.base_url`, on virtual time.
    """
    from voiceagent.testing.twin import scripted_twin

    del virtual_time  # that it is asked for is all it takes
    return scripted_twin


@pytest.fixture
def voice_agent(virtual_time: "VirtualTime") -> "VoiceAgent":
    """A whole session with its caller.

    ``async with voice_agent(script, settings, hooks) as caller:``, on virtual time; see `voiceagent.testing.agent`.
    """
    from voiceagent.testing.session import agent

    del virtual_time
    return agent


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Make of an async test that asks for virtual time a plain one, before anybody else runs it on a loop of their own."""
    test = _coroutine_function(pyfuncitem) if "virtual_time" in pyfuncitem.fixturenames else None
    if test is None:
        return (yield)
    from voiceagent.testing.clock import on_virtual_time

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyfuncitem, "obj", on_virtual_time(test, LONGEST_TEST_S))
        return (yield)


def _coroutine_function(item: pytest.Function) -> Callable[..., Coroutine[Any, Any, object]] | None:
    """The test as it was written: pytest-asyncio has wrapped what bears its mark, which in its mode `auto` is all."""
    test = item.obj
    if not inspect.iscoroutinefunction(test) and item.get_closest_marker("asyncio") is not None:
        test = getattr(test, "__wrapped__", None)
    return test if inspect.iscoroutinefunction(test) else None
