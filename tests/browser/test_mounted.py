"""The page below a path of another application."""

from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from tests.browser.conftest import ServerThread

pytestmark = [pytest.mark.browser, pytest.mark.local]


def below(app):
    """Mounted at /shop/voice."""

    @asynccontextmanager
    async def lifespan(_):
        async with app.state.agent:
            yield

    return Starlette(routes=[Mount("/shop/voice", app)], lifespan=lifespan)


def test_the_page_below_a_path(open_page, voice):
    """Its scripts, its audio threads and its socket are found there: one asks aloud and hears the answer."""
    with ServerThread(within=below) as server:
        page = open_page(f"{server.url}/shop/voice/")
        page.page.click("#start")
        page.until("window.voiceagent.state === 'listening'")
        page.until("document.getElementById('level').hidden === false")
        page.page.evaluate("(audio) => window.say(audio)", voice("what time is it"))
        page.until("window.loudness() > 0.01")
        page.until("window.voiceagent.turns.length === 1")
        assert page.turns[0]["outcome"] == "completed"
        page.leave()
