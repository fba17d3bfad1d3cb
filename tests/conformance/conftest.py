"""The server under test, and a voice to speak to it with."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conformance import probes  # noqa: F401 - they enter themselves
from tests.conformance.targets import TWIN_KEY, LocalTwin, Target, engines, opened, remote
from voiceagent.twin import LocalEngines, TwinServer, create_twin

LOCAL = pytest.param(
    "local",
    marks=[
        pytest.mark.local,
        pytest.mark.skipif(bool(LocalEngines.missing()), reason="the extra 'local' is not installed"),
    ],
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test against both twins, or against the server that is named."""
    if "place" in metafunc.fixturenames:
        metafunc.parametrize("place", ["remote"] if remote() else ["scripted", LOCAL], indirect=True, scope="session")


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest) -> Iterator[tuple[str, LocalTwin | None]]:
    """The kind of server, and the process of the twin that has local engines."""
    if request.param != "local":
        yield request.param, None
        return
    twin = LocalTwin()
    yield request.param, twin
    twin.close()


@pytest.fixture
async def target(place: tuple[str, LocalTwin | None]) -> AsyncIterator[Target]:
    """The server under test. Scripted engines are new for each test."""
    name, twin = place
    if name == "remote":
        async with opened(name, *remote()) as made:
            yield made
    elif twin is not None:
        async with opened(name, twin.base_url, TWIN_KEY) as made:
            yield made
    else:
        made = engines()
        async with (
            TwinServer(create_twin(made, TWIN_KEY)) as server,
            opened(name, server.base_url, TWIN_KEY, made) as new,
        ):
            yield new


@pytest.fixture(scope="session")
def spoken() -> bytes:
    """A sentence by the local synthesiser, PCM16 at 24 kHz, with silence around it: a server's ears must take it for speech."""
    if missing := LocalEngines.missing():
        pytest.skip(f"nobody can speak here: {', '.join(missing)} is not installed")

    async def speak() -> bytes:
        made = LocalEngines()
        await made.start()
        try:
            return b"".join([chunk async for chunk in made.speak("what time is it", "en-us", 1.0)])
        finally:
            await made.aclose()

    return bytes(14_400) + asyncio.run(speak()) + bytes(72_000)
