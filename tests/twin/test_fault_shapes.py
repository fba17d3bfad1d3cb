"""Faults in front of any application: the shapes of responses, transcriptions and conversations, and who goes first."""

import asyncio
import base64
import json

import httpx2
import openai
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import connect

from tests.virtual import virtual_time
from voiceagent.twin import TwinServer
from voiceagent.twin.fault_events import WAV_HEADER
from voiceagent.twin.faults import FaultPlan
from voiceagent.twin.faulty import FaultMiddleware

PCM = bytes(range(100))
EVENTS = [
    {"type": "response.created", "sequence_number": 0, "response": {"id": "resp_1", "output": []}},
    {"type": "response.output_text.delta", "sequence_number": 1, "delta": "Hello"},
    {"type": "response.output_text.delta", "sequence_number": 2, "delta": " you"},
]
HEARD = [
    {"type": "transcript.text.delta", "delta": "one"},
    {"type": "transcript.text.done", "text": "one two"},
]
SPOKEN = [{"type": "response.output_audio.delta", "delta": base64.b64encode(PCM).decode()}] * 2


def stream(events):
    """Named events, in two pieces that cut one of them."""

    async def endpoint(request):
        whole = b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)

        async def pieces():
            yield whole[:70]
            await asyncio.sleep(0.01)
            yield whole[70:]

        return StreamingResponse(pieces(), media_type="text/event-stream")

    return endpoint


async def transcription(request):
    """The text as JSON."""
    return JSONResponse({"text": "one two", "usage": {"type": "duration", "seconds": 1}})


async def silent(request):
    """Never answers."""
    await asyncio.Event().wait()
    return PlainTextResponse("")


async def conversation(websocket):
    """Speaks, and echoes."""
    await websocket.accept()
    for event in SPOKEN:
        await websocket.send_json(event)
    async for text in websocket.iter_text():
        await websocket.send_text(text)


def served(*rules):
    """A server of its own with these faults in front."""
    app = Starlette(
        routes=[
            Route("/v1/responses", stream(EVENTS), methods=["POST"]),
            Route("/v1/heard", stream(HEARD)),
            Route("/v1/audio/transcriptions", transcription, methods=["POST"]),
            Route("/silent", silent),
            WebSocketRoute("/v1/realtime", conversation),
        ]
    )
    plan = FaultPlan(list(rules))
    app.add_middleware(FaultMiddleware, plan=plan)
    return TwinServer(app), plan


async def responses(server):
    """The events of a stream of responses, through the SDK."""
    http = openai.DefaultAsyncHttpx2Client(trust_env=False)
    async with openai.AsyncOpenAI(api_key="x", base_url=server.base_url, max_retries=0, http_client=http) as client:
        return [event async for event in await client.responses.create(model="m", input="hello", stream=True)]


async def get(server, path, method="GET"):
    """A bare answer."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        return await http.request(method, server.base_url + path)


@virtual_time
async def test_responses():
    """A stream of responses is of the model's stage, its events have types, and its error is an event of its own."""
    rules = (
        {"fault": "missing", "stage": "llm", "event": "*.delta", "event_nth": 1},
        {"fault": "error", "stage": "llm", "code": "overloaded", "message": "Too much.", "after_events": 2},
    )
    server, plan = served(*rules)
    async with server:
        seen = await responses(server)
    assert [event.type for event in seen] == ["response.created", "response.output_text.delta", "error"]
    assert seen[1].delta == " you"
    assert (seen[2].code, seen[2].message, seen[2].sequence_number) == ("overloaded", "Too much.", 2)
    assert plan.counts == {"missing": 1, "error": 1}


@virtual_time
async def test_events_without_a_fault():
    """Blocks that were cut arrive whole, in order, with their names."""
    server, _ = served({"fault": "duplicate", "event": "nothing"})
    async with server:
        text = (await get(server, "/heard")).text
    assert text == "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in HEARD)


@virtual_time
async def test_transcriptions():
    """A transcript over HTTP is replaced too: in JSON, whose length stays true, and in its stream."""
    server, _ = served({"fault": "transcript", "text": "three"})
    async with server:
        answer = await get(server, "/audio/transcriptions", "POST")
        assert answer.json() == {"text": "three", "usage": {"type": "duration", "seconds": 1}}
        done = (await get(server, "/heard")).text.split("\n\n")[1]
        assert done == 'event: transcript.text.done\ndata: {"type": "transcript.text.done", "text": "three"}'


@virtual_time
async def test_conversations():
    """A conversation's first audio begins with the header; its client's events can be doubled."""
    server, plan = served(
        {"fault": "wav_header", "stage": "realtime"},
        {"fault": "duplicate", "direction": "up", "event": "a", "stage": "realtime"},
    )
    async with server, connect(server.base_url.replace("http", "ws") + "/realtime?model=m", proxy=None) as ws:
        audio = [base64.b64decode(json.loads(await ws.recv())["delta"]) for _ in range(2)]
        assert audio == [WAV_HEADER + PCM, PCM]
        await ws.send('{"type": "a"}')
        await ws.send('{"type": "b"}')
        assert [json.loads(await ws.recv())["type"] for _ in range(3)] == ["a", "a", "b"]
    assert plan.counts == {"wav_header": 1, "duplicate": 1}


@virtual_time
async def test_a_fault_by_the_clock_does_not_wait_for_the_answer():
    """A drop comes at its time although nothing was answered; an error waits for the headers."""
    server, plan = served({"fault": "drop", "path": "/silent", "after_ms": 400})
    loop = asyncio.get_running_loop()
    async with server, httpx2.AsyncClient(trust_env=False) as http:
        before_s = loop.time()
        with pytest.raises(httpx2.RemoteProtocolError):
            await http.get(server.base_url.removesuffix("/v1") + "/silent")
        assert round(loop.time() - before_s, 6) == 0.4
    assert plan.counts == {"drop": 1}


@pytest.mark.parametrize(
    "rule",
    [
        {"fault": "stall"}, {"fault": "stall", "after_events": 1}, {"fault": "delay", "delay_ms": 3_600_000},
        {"fault": "delay", "delay_ms": 3_600_000, "each": True}, {"fault": "slow", "bytes_per_s": 1},
    ],
    ids=str,
)  # fmt: skip
def test_a_client_that_leaves_ends_it(rule):
    """Whatever is held back ends with the client: a request, and a WebSocket, either way."""

    @virtual_time
    async def run():
        server, _ = served(rule)
        async with server:
            before = asyncio.all_tasks()
            with pytest.raises(httpx2.ReadTimeout):
                async with httpx2.AsyncClient(trust_env=False, timeout=1) as http:
                    await http.get(server.base_url + "/heard")
            url = server.base_url.replace("http", "ws") + "/realtime?model=m"
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1), connect(url, proxy=None, close_timeout=0.1) as ws:
                    while True:
                        await ws.recv()
            await asyncio.sleep(0.2)
            assert asyncio.all_tasks() == before

    run()


@virtual_time
async def test_a_server_that_stops_ends_it():
    """A stalled answer does not keep the server from stopping."""
    server, _ = served({"fault": "stall", "after_events": 1})
    async with httpx2.AsyncClient(trust_env=False, timeout=60) as http:
        async with server:
            asking = asyncio.create_task(http.get(server.base_url + "/heard"))
            await asyncio.sleep(1)
        with pytest.raises(httpx2.RemoteProtocolError):
            await asking
