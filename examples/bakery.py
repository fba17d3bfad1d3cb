"""An agent with instructions and a function that it may call, mounted in an application of one's own.

Run it with ``python examples/bakery.py``, open http://127.0.0.1:8000, and ask "what time is my bread ready".
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route

from voiceagent.hooks import Hooks
from voiceagent.server import create_app, uvicorn_config
from voiceagent.settings import Settings
from voiceagent.tools import Tool


def pickup_time(loaves: int = 1) -> str:
    """Tell at what time an order of so many loaves is ready today."""
    return "at 16:40" if loaves <= 5 else "at 18:10"


SETTINGS = Settings(
    instructions=(
        "You answer the phone of Miller's bakery. Be brief and friendly, in one or two spoken sentences. "
        "When an order is ready you learn from the function; do not guess."
    )
)
HOOKS = Hooks(tools=[Tool.from_function(pickup_time)])


def application() -> Starlette:
    """Return the shop's application, with the agent below ``/voice``."""
    voice = create_app(SETTINGS, HOOKS)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with voice.state.agent:  # nobody runs the lifespan of what is mounted
            yield

    async def shop(_: Request) -> HTMLResponse:
        return HTMLResponse("<title>Miller's bakery</title><p><a href='/voice/'>Talk to us</a>")

    return Starlette(routes=[Route("/", shop), Mount("/voice", voice)], lifespan=lifespan)


def main() -> None:
    """Serve until Ctrl-C, with the bounds that the agent wants of its server."""
    config = uvicorn_config(application(), SETTINGS)
    config.host, config.port = SETTINGS.host, SETTINGS.port
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
