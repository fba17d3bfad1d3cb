"""The server as a library: mounted in other applications, with observers, stages and tools of users' own; its health."""

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from tests.running_server import ANSWER, closing, greet, receive, served
from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent import protocol
from voiceagent.backends import Backends
from voiceagent.hooks import Hooks
from voiceagent.logs import RecordLog
from voiceagent.server import WEB_DIR
from voiceagent.stages.ports import Delta
from voiceagent.timeline import TransitionRecord


class Onlooker:
    """An observer that keeps what it is given."""

    def __init__(self):
        self.seen = []

    def transition(self, session, record):
        self.seen.append((session, record))

    def turn(self, session, record):
        self.seen.append((session, record))


class Sulky:
    """An observer that raises, whatever it is given."""

    def transition(self, session, record):
        raise RuntimeError("no")

    def turn(self, session, record):
        raise RuntimeError("no")


class Parrot:
    """A language model of one's own: it repeats what was said."""

    @asynccontextmanager
    async def reply(self, messages, tools):
        async def words():
            yield Delta(f"You said: {messages[-1]['content']}.")

        yield words()


async def converse(s, path="/ws", line="what time is it"):
    """Type a line, and return the reply's words once the first of its audio is there; then hang up."""
    s.ws = f"ws://127.0.0.1:{s.port}{path}"
    async with s.connect() as ws:
        welcome = await greet(ws)
        assert isinstance(welcome, protocol.Welcome), welcome
        await ws.send(protocol.Text(text=line).model_dump_json())
        text = await receive(ws, protocol.ReplyText)
        while not isinstance(await ws.recv(), bytes):
            pass
        await ws.send(protocol.HangUp().model_dump_json())
        assert await closing(ws) == (None, 1000)
    return text.text


# ------------------------------------------------------------------------------------------ hooks
async def test_observers():
    """Each gets every record once, in the order of the log; one that raises is logged once, counted, and harms nobody."""
    first, last = Onlooker(), Onlooker()
    async with served(hooks=Hooks(tools=(), observers=[first, Sulky(), last])) as s:
        assert ANSWER.startswith(await converse(s))
        lines = await s.logged()
        agent = s.app.state.agent
    assert first.seen == last.seen
    records = [line for line in lines if line["event"] in {"transition", "turn"}]
    assert [(line["session"], line["event"], line.get("seq"), line["turn"]) for line in records] == [
        (session, "transition", record.seq, record.turn)
        if isinstance(record, TransitionRecord)
        else (session, "turn", None, record.turn)
        for session, record in first.seen
    ]
    (failed,) = [line for line in lines if line["event"] == "observer_failed"]
    assert (failed["observer"], failed["exception"][0]["exc_value"], failed["level"]) == ("Sulky", "no", "error")
    assert agent.observers.raised == len(first.seen)


async def test_a_stage_of_ones_own():
    """It answers in place of the settings' one; the others stay."""
    asked = []

    def own(stages):
        asked.append(stages.voice is not None)
        return replace(stages, llm=Parrot())

    async with served(hooks=Hooks(tools=(), stages=own)) as s:
        assert "You said: hello.".startswith(await converse(s, line="hello"))
        assert s.engines.of("llm_request") == []
        assert s.engines.of("tts_request") != []
    assert asked == [False, True]


async def test_a_stage_that_cannot_be_made():
    """What the hook raises is told to the sessions and in `/readyz`; the server runs."""

    def own(_):
        raise RuntimeError("The parrot is ill.")

    async with served(hooks=Hooks(stages=own)) as s, httpx2.AsyncClient(trust_env=False, base_url=s.url) as client:
        async with s.connect() as ws:
            assert (await greet(ws)).message == "The parrot is ill."
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (
            503, {"status": "not ready", "reason": "backends", "sentence": "The parrot is ill."},
        )  # fmt: skip


# ------------------------------------------------------------------------------------------ mounted
def of_starlette(app, lifespan):
    """Mounted in a Starlette application with a page of its own."""
    return Starlette(routes=[Route("/", lambda _: PlainTextResponse("home")), Mount("/voice", app)], lifespan=lifespan)


def of_fastapi(app, lifespan):
    """The same in FastAPI."""
    outer = FastAPI(lifespan=lifespan)
    outer.get("/", response_class=PlainTextResponse)(lambda: "home")
    outer.mount("/voice", app)
    return outer


@pytest.mark.parametrize("mounted", [of_starlette, of_fastapi])
async def test_mounted(mounted):
    """Below a path of another application everything is there, if that one's lifespan enters the agent."""

    def within(app):
        @asynccontextmanager
        async def lifespan(_):
            async with app.state.agent:
                yield

        return mounted(app, lifespan)

    async with served(within=within) as s, httpx2.AsyncClient(trust_env=False, base_url=s.url) as client:
        assert (await client.get("/")).text == "home"
        page = await client.get("/voice", follow_redirects=True)
        assert (page.url.path, page.text) == ("/voice/", (WEB_DIR / "index.html").read_text(encoding="utf-8"))
        assert (await client.get("/voice/web/main.js")).status_code == 200
        assert ANSWER.startswith(await converse(s, "/voice/ws"))
        assert (await client.get("/voice/readyz")).json() == {"status": "ready"}
        events = [line["event"] for line in await s.logged()]
        assert "turn" in events
    assert s.app.state.agent.draining


async def test_mounted_and_never_entered():
    """Whoever forgets the lifespan is told what to do."""
    sentence = "The agent is not running: whoever mounts it has to enter `app.state.agent` in the lifespan."
    async with (
        served(within=lambda app: Starlette(routes=[Mount("/voice", app)])) as s,
        httpx2.AsyncClient(trust_env=False, base_url=s.url) as client,
    ):
        s.ws = f"ws://127.0.0.1:{s.port}/voice/ws"
        async with s.connect() as ws:
            error = await greet(ws)
        assert (error.code, error.message) == ("backend", sentence)
        assert (await client.get("/voice/readyz")).json()["sentence"] == sentence


# ------------------------------------------------------------------------------------------ the log in trouble
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
async def test_a_conversation_on_a_full_disk():
    """It goes on; what the file lost is in `/healthz`, and the other sink has it all."""
    async with (
        served(log_file="/dev/full") as s,
        httpx2.AsyncClient(trust_env=False, base_url=s.url) as client,
    ):
        assert ANSWER.startswith(await converse(s))
        lines = await s.logged()
        dropped = (await client.get("/healthz")).json()["records_dropped"]
    assert dropped == {"queue": 0, "stdout": 0, "file": len(lines) - 1}
    (failed,) = [line for line in lines if line["event"] == "log_sink_failed"]
    assert (failed["sink"], failed["reason"]) == ("file", "No space left on device")


async def test_a_conversation_while_the_log_is_stuck():
    """Nobody waits for a sink that takes nothing; when it does again, everything is there, in order."""
    async with served() as s:
        gate, write = threading.Event(), s.sink.write
        s.sink.write = lambda text: gate.wait(30) and write(text)
        try:
            for _ in range(2):
                assert ANSWER.startswith(await converse(s))
            before = len(s.sink.lines)
        finally:
            gate.set()
        lines = (await s.logged())[before:]
    steps = [(line["session"], line["seq"]) for line in lines if line["event"] == "transition"]
    first, second = dict.fromkeys(session for session, _ in steps)
    for session in (first, second):
        seqs = [seq for owner, seq in steps if owner == session]
        assert seqs == list(range(1, len(seqs) + 1))
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)


# ------------------------------------------------------------------------------------------ health
async def test_readiness():
    """503 with a reason while all places are taken and while the server drains; present sessions go on."""
    async with (
        served(max_sessions=1) as s,
        httpx2.AsyncClient(trust_env=False, base_url=s.url) as client,
        s.connect() as ws,
    ):
        assert (await client.get("/readyz")).status_code in {200, 503}  # it may still be starting
        await greet(ws)
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (
            503, {"status": "not ready", "reason": "full", "sentence": "All 1 places are taken."},
        )  # fmt: skip
        s.app.state.agent.drain()
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["reason"]) == (503, "draining")
        async with s.connect() as other:
            error, closed = await closing(other)
        assert (error.code, closed) == ("draining", 1013)
        await ws.send(protocol.Text(text="what time is it").model_dump_json())
        assert ANSWER.startswith((await receive(ws, protocol.ReplyText)).text)
        health = (await client.get("/healthz")).json()
        assert (health["status"], health["sessions"]) == ("ok", 1)


@virtual_time
async def test_backends_that_are_not_ready_yet():
    """Before they have started, and while they start, there is a sentence; then there is none."""
    settings = settings_for_tests(**{f"{stage}_base_url": "http://127.0.0.1:1/v1" for stage in ("stt", "llm", "tts")})
    backends = Backends(settings, RecordLog(settings))
    assert backends.trouble.startswith("The agent is not running")
    async with backends:
        assert backends.trouble == "The back-ends are not ready yet."
        assert await backends.ready() == ""
        assert backends.trouble == ""
        await asyncio.gather(backends._checking, return_exceptions=True)
    assert backends.trouble.startswith("The agent is not running")
