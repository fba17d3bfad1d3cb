"""A whole server on a real uvicorn and a real socket, with a scripted twin behind it, and the words of a bare client."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.world import settings_for_tests
from voiceagent import protocol
from voiceagent.hooks import Hooks
from voiceagent.logs import RecordLog
from voiceagent.server import _Server, create_app, uvicorn_config
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin

ANSWER = "It is nine in the morning."


class Sink:
    """A log's stream that keeps its lines."""

    def __init__(self):
        self.lines = []

    def write(self, text):
        self.lines += [json.loads(line) for line in text.splitlines() if line]

    def flush(self):
        pass

    def isatty(self):
        return False


class Served:
    """A running server: its port, its log, and what its twin was asked."""

    def __init__(self, port, sink, engines, app):
        self.port, self.sink, self.engines, self.app = port, sink, engines, app
        self.url = f"http://127.0.0.1:{port}"
        self.ws = f"ws://127.0.0.1:{port}/ws"

    async def logged(self):
        """The lines of the log so far."""
        assert await asyncio.to_thread(self.app.state.agent.log.flush)
        return list(self.sink.lines)

    def connect(self, **headers):
        """Open a WebSocket as a program or, with an origin, as a page."""
        return connect(self.ws, proxy=None, compression=None, additional_headers=headers, close_timeout=1)


@asynccontextmanager
async def served(script=None, hooks=None, within=lambda app: app, **settings):
    """Serve with a scripted twin behind it; `within` makes the application that it is part of."""
    engines = ScriptedEngines(script or Script(replies=[ANSWER], tts_ms_per_char=5))
    async with TwinServer(create_twin(engines)) as twin:
        urls = {f"{stage}_base_url": twin.base_url for stage in ("stt", "llm", "tts")}
        chosen = settings_for_tests(port=0, **{**urls, **settings})
        sink = Sink()
        app = create_app(chosen, hooks or Hooks(tools=()), log=RecordLog(chosen, sink))
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        server = _Server(uvicorn_config(within(app), chosen), "", app.state.agent.drain)
        server.install_signal_handlers = lambda: None
        task = asyncio.create_task(server._serve([listener]))
        try:
            async with asyncio.timeout(20):
                while not server.started:
                    await asyncio.sleep(0.01)
            yield Served(listener.getsockname()[1], sink, engines, app)
        finally:
            server.should_exit = True
            await task
            listener.close()


async def receive(socket_, kind, limit_s=20):
    """The next message of a type."""
    async with asyncio.timeout(limit_s):
        while True:
            data = await socket_.recv()
            if isinstance(data, str):
                message = protocol.parse_server(data)
                if isinstance(message, kind):
                    return message


async def greet(socket_, **fields):
    """Say hello and return the answer."""
    await socket_.send(protocol.Hello(version=1, **fields).model_dump_json())
    return await receive(socket_, (protocol.Welcome, protocol.Error))


async def closing(socket_):
    """Read to the end: the last error, and the close code."""
    error = None
    try:
        async with asyncio.timeout(20):
            while True:
                data = await socket_.recv()
                if isinstance(data, str):
                    message = protocol.parse_server(data)
                    error = message if isinstance(message, protocol.Error) else error
    except ConnectionClosed as closed:
        return error, closed.rcvd.code
