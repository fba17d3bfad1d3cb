"""The whole server over a real uvicorn and a real socket: who may come in, what a bad client gets, and a conversation."""

import asyncio
import json

import httpx2
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.running_server import ANSWER, closing, greet, receive, served
from tests.world import settings_for_tests
from voiceagent import protocol
from voiceagent.caller import Call, CallError
from voiceagent.server import WEB_DIR, create_app
from voiceagent.twin import Script


async def test_a_typed_conversation():
    """Hello, a typed line, its answer aloud, and the log of it without a word of what was said."""
    async with served() as s:
        async with s.connect() as ws:
            welcome = await greet(ws, client="test")
            assert (welcome.version, welcome.backend, welcome.resumed) == (1, "local", False)
            await ws.send(protocol.Text(text="what time is it").model_dump_json())
            text = await receive(ws, protocol.ReplyText)
            assert ANSWER.startswith(text.text)
            while not isinstance(data := await ws.recv(), bytes):
                pass
            assert protocol.ReplyFrame.unpack(data).first_sample == 0
            await ws.send(protocol.HangUp().model_dump_json())
            assert await closing(ws) == (None, 1000)
        lines = await s.logged()
        events = [line["event"] for line in lines]
        assert events.count("turn") == 1
        assert events.count("transition") >= 3
        assert "nine" not in json.dumps(lines)
        assert "what time" not in json.dumps(lines)


async def test_call_types():
    """`voiceagent call` is a client like any other: a typed line is answered and heard to its end."""
    async with served() as s:
        call = Call(s.url, ["what time is it"])
        await call.run()
        (turn,) = [turn.report() for turn in call.turns.values()]
        assert (turn["transcript"], turn["reply"], turn["heard"]) == ("what time is it", ANSWER, ANSWER)
        assert turn["outcome"] == "completed"
        assert turn["reply_audio_s"] == len(ANSWER) * 0.005 - 0.005  # the space between the two phrases is not spoken
        assert call.errors == []


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("127.0.0.1", {"Origin": "http://evil.example"}),
        ("127.0.0.1", {"Origin": "null"}),
        ("evil.example", {"Origin": "http://evil.example"}),
        ("evil.example", {}),
    ],
)
async def test_foreign_pages_are_refused(name, headers):
    """A page of another site gets 403 in the handshake, also under a name that was made to point here."""
    async with served() as s:
        with pytest.raises(InvalidStatus) as refusal:
            async with connect(
                f"ws://{name}:{s.port}/ws", host="127.0.0.1", port=s.port, proxy=None, additional_headers=headers
            ):
                pass
        assert refusal.value.response.status_code == 403


async def test_own_page_and_named_origins_may_come_in():
    """The server's own page is let in, and so are the origins in the settings."""
    async with served(allowed_origins=("https://shop.example",)) as s:
        for origin in (s.url, "https://shop.example"):
            async with s.connect(Origin=origin) as ws:
                assert isinstance(await greet(ws), protocol.Welcome)


@pytest.mark.parametrize(
    ("first", "code", "close"),
    [
        ("{", "bad_json", 4400),
        ("[" * 5000, "bad_json", 4400),
        ('{"type":"hello"}', "bad_message", 4400),
        ('{"type":"hello","version":1,"surprise":1}', "bad_message", 4400),
        ('{"type":"mute","muted":true}', "hello_first", 4400),
        (b"\x01\x00", "hello_first", 4400),
        ('{"type":"hello","version":99}', "version", 4406),
    ],
)
async def test_a_bad_first_message(first, code, close):
    """What is no hello is answered with a typed error in words, and a close."""
    async with served() as s:
        async with s.connect() as ws:
            await ws.send(first)
            error, closed = await closing(ws)
        assert (error.code, error.fatal, closed) == (code, True, close)
        assert error.message
        assert error.hint


async def test_no_hello():
    """A client that says nothing is told so and let go."""
    async with served(hello_timeout_s=0.1) as s:
        async with s.connect() as ws:
            error, closed = await closing(ws)
        assert (error.code, closed) == ("hello_late", 4408)


async def test_too_large_a_message():
    """More than 64 KiB is closed with 1009; exactly as much is not."""
    async with served() as s, s.connect() as ws:
        await greet(ws)
        await ws.send(" " * protocol.MAX_MESSAGE_BYTES)
        assert (await receive(ws, protocol.Error)).code == "bad_json"
        await ws.send(" " * (protocol.MAX_MESSAGE_BYTES + 1))
        assert (await closing(ws))[1] == 1009


async def test_capacity():
    """One session too many is told so in words, with 1013; when a place is free it may come."""
    async with served(max_sessions=1) as s:
        async with s.connect() as one:
            await greet(one)
            async with s.connect() as two:
                error = await greet(two)
                assert (error.code, (await closing(two))[1]) == ("capacity", 1013)
        async with asyncio.timeout(5):
            while s.app.state.agent.sessions.running:
                await asyncio.sleep(0.01)
        async with s.connect() as three:
            assert isinstance(await greet(three), protocol.Welcome)


async def test_capacity_is_not_asked_of_who_is_there():
    """Who takes a session over has its place already, on a full server too; nobody else slips in meanwhile."""
    async with served(max_sessions=1) as s, s.connect() as one:
        first = await greet(one)
        async with s.connect() as two, s.connect() as three:
            second, other = await asyncio.gather(greet(two, resume=first.resume_token, mode="realtime"), greet(three))
            assert (second.resumed, second.mode, other.code) == (True, "realtime", "capacity")
            assert (await closing(one))[0].code == "replaced"
            assert s.app.state.agent.sessions.running == 1


async def test_two_that_come_for_one_place():
    """However many hellos wait at once, one gets it."""
    async with served(max_sessions=1) as s, s.connect() as one, s.connect() as two:
        answers = await asyncio.gather(greet(one), greet(two))
        assert sorted(answer.type for answer in answers) == ["error", "welcome"]


async def test_token():
    """Where a token is set, a hello without it or with another one is refused with 4401."""
    async with served(access_token="secret") as s:
        for token in (None, "wrong"):
            async with s.connect() as ws:
                answer = await greet(ws, token=token)
                assert answer.code == "token"
                assert (await closing(ws))[1] == 4401
        async with s.connect() as ws:
            assert isinstance(await greet(ws, token="secret"), protocol.Welcome)


def test_an_open_address_with_a_key_makes_up_a_token():
    """Bound to anything but loopback with a real key, the server demands a token; without a key there is nothing to steal."""
    token_of = lambda **settings: create_app(settings_for_tests(**settings)).state.agent.token  # noqa: E731
    assert token_of(host="0.0.0.0", backend="openai", openai_api_key="sk-x")
    assert token_of(host="127.0.0.1", backend="openai", openai_api_key="sk-x") is None
    assert token_of(host="0.0.0.0") is None
    assert token_of(host="0.0.0.0", access_token="mine") == "mine"


async def test_resume():
    """A lost conversation goes on with its token: same session, its history, and turns that count on."""
    async with served() as s:
        async with s.connect() as ws:
            first = await greet(ws)
            await ws.send(protocol.Text(text="what time is it").model_dump_json())
            await receive(ws, protocol.ReplyText)
            ws.transport.abort()
        async with s.connect() as ws:
            second = await greet(ws, resume=first.resume_token)
            assert (second.resumed, second.session) == (True, first.session)
            assert second.resume_token != first.resume_token
            (kept,) = second.history
            assert (kept["turn"], kept["user"], kept["reply"]) == (1, "what time is it", "")
            await ws.send(protocol.Text(text="and now").model_dump_json())
            assert (await receive(ws, protocol.ReplyText)).turn == 2
            assert [m["content"] for m in s.engines.of("llm_request")[1].detail[1:]] == ["what time is it", "and now"]
        async with s.connect() as ws:
            assert (await greet(ws, resume=first.resume_token)).resumed is False


async def test_the_newest_window_wins():
    """A second connection with the token takes the conversation over, and the first one is told."""
    async with served() as s, s.connect() as one:
        first = await greet(one)
        async with s.connect() as two:
            assert (await greet(two, resume=first.resume_token)).resumed is True
            error, closed = await closing(one)
            assert (error.code, closed) == ("replaced", 4409)


async def test_a_late_return_begins_anew():
    """After `resume_s` nothing is kept."""
    async with served(resume_s=0) as s:
        async with s.connect() as ws:
            first = await greet(ws)
            ws.transport.abort()
        async with asyncio.timeout(5):
            while s.app.state.agent.sessions.running:
                await asyncio.sleep(0.01)
        async with s.connect() as ws:
            assert (await greet(ws, resume=first.resume_token)).resumed is False


async def test_pages():
    """The page and its files come with a strict policy; health says how many sessions there are."""
    async with served() as s, httpx2.AsyncClient(trust_env=False, base_url=s.url) as client:
        page = await client.get("/")
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.text == (WEB_DIR / "index.html").read_text(encoding="utf-8")
        for path in ("/web/main.js", "/web/worklets/playback.js", "/web/style.css", "/favicon.ico"):
            answer = await client.get(path)
            assert answer.status_code == 200
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert (await client.get("/web/../pyproject.toml")).status_code == 404
        assert (await client.get("/nothing")).status_code == 404
        assert (await client.get("/healthz")).json() == {
            "status": "ok", "version": "0.1.0", "sessions": 0, "records_dropped": {"queue": 0, "stdout": 0},
            "observers_raised": 0,
        }  # fmt: skip


async def test_leaving_closes_what_was_asked_of_the_twin():
    """A browser that vanishes in mid-reply: the model's request is cancelled at once."""
    async with served(Script(replies=["word " * 200], llm_token_ms=50)) as s:
        async with s.connect() as ws:
            await greet(ws)
            await ws.send(protocol.Text(text="a story").model_dump_json())
            await receive(ws, protocol.ReplyText)
            ws.transport.abort()
        async with asyncio.timeout(5):
            while not s.engines.of("llm_cancelled"):
                await asyncio.sleep(0.01)


async def test_call_says_what_is_wrong():
    """A server that is not there, or that refuses, is one sentence."""
    with pytest.raises(CallError, match="No voiceagent server answers at 127.0.0.1:1"):
        await Call("http://127.0.0.1:1", ["x"]).run()
    with pytest.raises(CallError, match="is not the address of a server"):
        Call("ftp://x", ["x"])
    async with served(access_token="secret") as s:
        with pytest.raises(CallError, match="asks for an access token"):
            await Call(s.url, ["x"]).run()
