"""Faults of answers and connections, as the real SDK and bare clients see them: refusals, time, ends."""

import asyncio
import json

import httpx2
import openai
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.twin.faulty import APPEND, COMMIT, DONE, MESSAGES, ORDER, faulty, kinds, say, take, texts_into
from tests.virtual import virtual_time
from voiceagent.twin import Script


# ------------------------------------------------------------------------------------------ refusals
@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, openai.AuthenticationError, "invalid_api_key"),
        (403, openai.PermissionDeniedError, "unsupported_country_region_territory"),
        (404, openai.NotFoundError, "model_not_found"),
        (429, openai.RateLimitError, "rate_limit_exceeded"),
        (500, openai.InternalServerError, "server_error"),
        (503, openai.InternalServerError, "server_error"),
    ],
)
def test_refused(status, kind, code):
    """A refusal has OpenAI's shape for a request and for a handshake; the next request is served."""

    @virtual_time
    async def run():
        rule = {"fault": "refuse", "status": status, "nth": 1, "retry_after_s": 2, "retry_after_ms": 1500}
        async with faulty(rule | {"stage": "llm"}, rule | {"stage": "stt", "should_retry": False}) as twin:
            with pytest.raises(kind) as refused:
                await twin.chat()
            assert (refused.value.status_code, refused.value.code) == (status, code)
            assert refused.value.response.headers["retry-after"] == "2"
            assert refused.value.response.headers["retry-after-ms"] == "1500"
            assert refused.value.request_id.startswith("req_")
            assert await twin.chat() == "Hello to you."
            with pytest.raises(InvalidStatus) as shut:
                async with twin.socket():
                    pass
            assert shut.value.response.status_code == status
            assert shut.value.response.headers["x-should-retry"] == "false"
            assert json.loads(shut.value.response.body)["error"]["code"] == code
            async with twin.session():
                pass
            assert [done.detail for done in twin.plan.of("refuse")] == [{"status": status}] * 2

    run()


@virtual_time
async def test_retry_after_is_obeyed_by_the_sdk():
    """openai-python waits for as long as a 429 says, and then has its answer."""
    async with faulty({"fault": "refuse", "status": 429, "nth": 1, "retry_after_ms": 700}) as twin:
        before_ms = twin.now_ms
        client = twin.client.with_options(max_retries=1)
        answer = await client.chat.completions.create(model="m", messages=MESSAGES)
        assert answer.choices[0].message.content == "Hello to you."
        assert twin.now_ms - before_ms == 700 + 100 + 20


@virtual_time
async def test_html():
    """A captive portal's page comes in place of an answer, and of a handshake."""
    async with faulty({"fault": "html"}) as twin:
        answer = await twin.http.get(twin.server.base_url + "/models")
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.text.startswith("<!DOCTYPE html>")
        assert await twin.chat() == ""  # so the SDK: a stream without events
        with pytest.raises(InvalidStatus) as shut:
            async with twin.socket():
                pass
        assert shut.value.response.status_code == 200
        assert b"<html>" in shut.value.response.body


@virtual_time
async def test_reject():
    """A client's event is refused with its event_id, and never comes; the session goes on."""
    async with faulty({"fault": "reject", "event_nth": 1}) as twin, twin.session() as ws:
        await say(ws)
        (event,) = await take(ws, 1)
        assert event["type"] == "error"
        assert (event["error"]["code"], event["error"]["event_id"]) == ("input_audio_buffer_commit_empty", "mine")
        await ws.send(COMMIT)
        assert kinds(await take(ws, 5)) == ORDER
        assert len(twin.engines.of("stt_commit")) == 1


# ------------------------------------------------------------------------------------------ time
@virtual_time
async def test_delay():
    """The beginning of an answer is late by exactly so much; with jitter by what the seed draws, again and again."""
    took = []
    for seed in (1, 1, 2):
        async with faulty({"fault": "delay", "delay_ms": 300, "jitter_ms": 200, "seed": seed, "stage": "llm"}) as twin:
            before_ms = twin.now_ms
            assert await twin.chat() == "Hello to you."
            took.append(twin.now_ms - before_ms)
            (done,) = twin.plan.log
            assert took[-1] == 120 + round(done.detail["ms"])
            before_ms = twin.now_ms
            await twin.speech()
            assert twin.now_ms - before_ms == 80
    assert took[0] == took[1] != took[2]
    assert all(420 <= ms <= 620 for ms in took)


@virtual_time
async def test_delay_of_a_handshake():
    """A handshake is late too, and a client that does not wait for it leaves nothing behind."""
    async with faulty({"fault": "delay", "delay_ms": 3_000}) as twin:
        before_ms = twin.now_ms
        async with twin.session():
            assert twin.now_ms - before_ms == 3_000
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(twin.socket().__aenter__(), 1)


@virtual_time
async def test_delay_of_events():
    """Over a long line each event is late by as much, not by the sum; `event` names the ones that are."""
    for rule, late in (({"each": True}, [250] * 5), ({"event": "*.completed"}, [0, 0, 0, 0, 250])):
        async with faulty({"fault": "delay", "delay_ms": 250, **rule}) as twin, twin.session() as ws:
            before_ms = twin.now_ms
            await say(ws)
            came = []
            for kind in ORDER:
                assert kinds(await take(ws, 1)) == [kind]
                came.append(twin.now_ms - before_ms)
            assert came == [lag + (50 if DONE in kind else 0) for lag, kind in zip(late, ORDER, strict=True)]


@virtual_time
async def test_jitter_keeps_the_order():
    """However late each event is, none overtakes another."""
    rule = {"fault": "delay", "jitter_ms": 900, "each": True, "seed": 4}
    async with faulty(rule) as twin, twin.session() as ws:
        for _ in range(3):
            await say(ws)
            assert kinds(await take(ws, 5)) == ORDER
        late_ms = [done.detail["ms"] for done in twin.plan.log]
        assert sorted(late_ms) != late_ms


@virtual_time
async def test_delay_of_what_the_client_sends():
    """The way up may be long as well."""
    rule = {"fault": "delay", "delay_ms": 400, "direction": "up", "event": "*.commit"}
    async with faulty(rule) as twin, twin.session() as ws:
        before_ms = twin.now_ms
        await say(ws)
        await take(ws, 1)
        assert twin.now_ms - before_ms == 400


@virtual_time
async def test_stall():
    """Nothing comes before the answer, or after so many events; the connection stays."""
    rules = (
        {"fault": "stall", "stage": "llm", "nth": 1},
        {"fault": "stall", "stage": "llm", "nth": 2, "after_events": 2},
    )
    async with faulty(*rules) as twin:
        before_ms = twin.now_ms
        with pytest.raises(openai.APITimeoutError):
            await twin.chat(timeout=2)
        assert twin.now_ms - before_ms == 2_000
        assert twin.engines.of("llm_request") == []
        stream = await twin.client.chat.completions.create(model="m", messages=MESSAGES, stream=True, timeout=2)
        texts = []
        with pytest.raises(openai.APITimeoutError):
            await texts_into(texts, stream)
        assert texts == ["", "Hello "]
        assert await twin.chat() == "Hello to you."


@virtual_time
async def test_stall_for_a_while():
    """What a hiccup held comes at once, and all of it."""
    rule = {"fault": "stall", "after_bytes": 4800, "for_ms": 500}
    async with faulty(rule, script=Script(tts_realtime_factor=1)) as twin:
        before_ms = twin.now_ms
        pieces = [(ms - before_ms, len(data)) for ms, data in await twin.speech("hello you")]
        assert pieces == [(80, 4800), (580, 4800), (580, 4800), (580, 4800), (580, 4800), (580, 1920)]


@virtual_time
async def test_stall_before_and_after():
    """A hiccup before the answer happens once; one after the last event keeps the end back; by the clock, the headers."""
    async with faulty({"fault": "stall", "for_ms": 300}) as twin:
        before_ms = twin.now_ms
        assert await twin.chat() == "Hello to you."
        assert twin.now_ms - before_ms == 300 + 120
        assert twin.plan.counts == {"stall": 1}
    async with faulty({"fault": "stall", "stage": "tts", "after_events": 3, "for_ms": 300}) as twin:
        before_ms = twin.now_ms
        assert [ms - before_ms for ms, _ in await twin.speech("hello")] == [80, 80, 80]
        assert twin.now_ms - before_ms == 80 + 300
    async with faulty({"fault": "stall", "after_ms": 50}) as twin:
        with pytest.raises(openai.APITimeoutError):
            await twin.client.chat.completions.create(model="m", messages=MESSAGES, stream=True, timeout=1)


@virtual_time
async def test_a_place_right_after_the_headers():
    """`after_events: 0` lets the headers out, and nothing more."""
    async with faulty({"fault": "drop", "after_events": 0}) as twin:
        async with twin.http.stream("GET", twin.server.base_url + "/models") as answer:
            assert answer.status_code == 200
            with pytest.raises(httpx2.RemoteProtocolError):
                await answer.aread()
        async with twin.socket() as ws:
            with pytest.raises(ConnectionClosed):
                await ws.recv()


@virtual_time
async def test_a_stalled_socket():
    """A WebSocket falls silent both ways and stays open."""
    rules = [{"fault": "stall", "after_ms": 1_000, "direction": way} for way in ("down", "up")]
    async with faulty(*rules) as twin, twin.session() as ws:
        await asyncio.sleep(2)
        await say(ws)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.recv(), 30)
        assert twin.engines.of("stt_commit") == []


@virtual_time
async def test_slow():
    """Bytes come at the rate, of a body and of messages."""
    async with faulty({"fault": "slow", "bytes_per_s": 24_000, "stage": "tts"}) as twin:
        before_ms = twin.now_ms
        pieces = await twin.speech("hello")
        assert b"".join(data for _, data in pieces) == twin.engines.audio("hello")
        assert pieces[-1][0] - before_ms == 80 + 600
        assert [ms - before_ms for ms, _ in pieces] == list(range(130, 681, 50))
    async with faulty({"fault": "slow", "bytes_per_s": 1_000, "stage": "stt"}) as twin, twin.socket() as ws:
        before_ms = twin.now_ms
        size = len(await ws.recv())
        assert twin.now_ms - before_ms == size


# ------------------------------------------------------------------------------------------ ends
@pytest.mark.parametrize("reset", [False, True])
def test_drop_of_a_request(reset, caplog):
    """The connection ends before the answer, at a byte, and after an event; there is no goodbye."""

    @virtual_time
    async def run():
        rules = [
            {"fault": "drop", "stage": "llm", "nth": 1, "reset": reset},
            {"fault": "drop", "stage": "llm", "nth": 2, "after_events": 2},
            {"fault": "drop", "stage": "tts", "after_bytes": 1001},
        ]
        async with faulty(*rules) as twin:
            with pytest.raises(openai.APIConnectionError):
                await twin.chat()
            stream = await twin.client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            texts = []
            with pytest.raises((openai.APIConnectionError, httpx2.RemoteProtocolError)):
                await texts_into(texts, stream)
            assert texts == ["", "Hello "]
            got = b""
            with pytest.raises(httpx2.RemoteProtocolError):
                async with twin.client.audio.speech.with_streaming_response.create(
                    model="tts-1", voice="alloy", input="hello", response_format="pcm"
                ) as response:
                    async for data in response.iter_bytes():
                        got += data
            assert got == twin.engines.audio("hello")[:1001]
            assert twin.plan.counts == {"drop": 3}

    run()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("place", "after_ms"),
    [({"after_ms": 1_500}, 1_500), ({"after_idle_ms": 1_500}, 2_000), ({"after_events": 2}, 0)],
)
def test_drop_of_a_socket(place, after_ms):
    """A WebSocket ends without a close frame, by the clock, when it is idle, or after an event."""

    @virtual_time
    async def run():
        async with faulty({"fault": "drop", **place}) as twin, twin.session() as ws:
            before_ms = twin.now_ms
            if "after_idle_ms" in place:
                await asyncio.sleep(0.5)
                await ws.send(APPEND)
            with pytest.raises(ConnectionClosed) as closed:
                await ws.recv()
            assert closed.value.rcvd is None
            assert twin.now_ms - before_ms == after_ms

    run()


@virtual_time
async def test_drop_before_the_handshake():
    """A handshake gets no answer but the end."""
    async with faulty({"fault": "drop"}) as twin:
        with pytest.raises(Exception, match="did not receive a valid HTTP response"):
            async with twin.socket():
                pass


@virtual_time
async def test_close():
    """A close has its code and reason, after an event of a type."""
    rule = {"fault": "close", "code": 1013, "reason": "try later", "event": "*.committed", "after_events": 1}
    async with faulty(rule) as twin, twin.session() as ws:
        await say(ws)
        assert kinds(await take(ws, 1)) == ORDER[:1]
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1013, "try later")


@virtual_time
async def test_close_after_what_the_client_sent():
    """Places may be counted in the client's events."""
    rule = {"fault": "close", "direction": "up", "event": "*.append", "after_events": 3}
    async with faulty(rule) as twin, twin.session() as ws:
        for _ in range(3):
            await ws.send(APPEND)
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        assert closed.value.rcvd.code == 1011


@virtual_time
async def test_session_expired():
    """The service's cap comes early: an error event, then the close."""
    async with faulty({"fault": "session_expired", "after_ms": 5_000}) as twin, twin.session() as ws:
        (event,) = await take(ws, 1)
        assert (event["type"], event["error"]["code"]) == ("error", "session_expired")
        with pytest.raises(ConnectionClosed) as closed:
            await ws.recv()
        assert closed.value.rcvd.code == 1001


@virtual_time
async def test_truncate():
    """A body ends early and properly: JSON in the middle, a stream without its end, audio at a byte."""
    async with faulty({"fault": "truncate", "after_bytes": 21}) as twin:
        answer = await twin.http.get(twin.server.base_url + "/models")
        assert answer.text == '{"object":"list","dat'
        assert b"".join(data for _, data in await twin.speech()) == twin.engines.audio("hello")[:21]
    async with faulty({"fault": "truncate", "after_events": 3}) as twin:
        assert await twin.chat() == "Hello to "
    async with faulty({"fault": "truncate"}) as twin:
        assert (await twin.http.get(twin.server.base_url + "/models")).content == b""


@virtual_time
async def test_error_in_mid_stream():
    """A stream of events ends with OpenAI's error; audio has no place for one and breaks."""
    async with faulty({"fault": "error", "code": "overloaded", "message": "Too much.", "after_events": 2}) as twin:
        stream = await twin.client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        texts = []
        with pytest.raises(openai.APIError, match="Too much.") as failed:
            await texts_into(texts, stream)
        assert texts == ["", "Hello "]
        assert failed.value.code == "overloaded"
        with pytest.raises(httpx2.RemoteProtocolError):
            await twin.speech("hello you")
    async with faulty({"fault": "error", "after_ms": 50}) as twin:  # before there is an answer: its first event
        with pytest.raises(openai.APIError):
            await twin.chat()


@virtual_time
async def test_error_event():
    """A Realtime session tells of an error, and goes on."""
    async with faulty({"fault": "error", "event": "*.committed", "after_events": 1}) as twin, twin.session() as ws:
        await say(ws)
        assert kinds(await take(ws, 6)) == [ORDER[0], "error", *ORDER[1:]]
