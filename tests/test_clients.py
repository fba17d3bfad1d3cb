"""How the stages' servers are reached: where each is, by which key and way, and on which connections."""

import asyncio
import json

import pytest

from tests.serving import Answer, Recorder
from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients, Endpoint
from voiceagent.stages.connections import KEEPALIVE_S
from voiceagent.stages.endpoints import over_http, used
from voiceagent.stages.ports import Acquired, StageError
from voiceagent.stages.probing import probe, probe_realtime
from voiceagent.stages.realtime import realtime_session
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin

HELLO = [{"role": "user", "content": "hello"}]
MODELS = {"object": "list", "data": [{"id": "m"}]}
CHUNK = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
END = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
STREAM = Answer(CHUNK + END, content_type="text/event-stream")
ENDLESS = Answer(CHUNK, content_type="text/event-stream", stays=True)
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy")


def chat_answer(asked):
    """Streams to a chat, models to the rest."""
    return STREAM if asked.method == "POST" else Answer(MODELS)


async def reply(clients):
    """One streamed answer, read to its end: its connection."""
    stream = await clients.get("llm").chat.completions.create(model="m", messages=HELLO, stream=True)
    async with stream:
        _ = [chunk async for chunk in stream]
    acquired = stream.response.extensions["acquired"]
    del stream
    for _ in range(40):  # the SDK leaves its generators to the loop
        await asyncio.sleep(0)
    return acquired


async def settled(clients):
    """Wait until no connection is being opened in the background."""
    while any(server.warming for server in clients._servers.values()):
        await asyncio.gather(*(task for server in clients._servers.values() for task in server.warming))


def openai_settings(url, **more):
    """Settings of a service at `url`."""
    return settings_for_tests(
        **{"backend": "openai", "openai_api_key": "sk-canary", "openai_base_url": url, "tts_api": "speech"} | more
    )


# ------------------------------------------------------------------------------------------ where a stage is served
@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:1/v1", True), ("http://127.9.9.9/v1", True), ("http://[::1]:8/v1", True),
        ("http://localhost:8/v1", True), ("http://10.0.0.1/v1", False), ("http://localhost.example/v1", False),
        ("https://api.openai.com/v1", False), ("http://128.0.0.1/v1", False), ("nonsense", False),
    ],
)  # fmt: skip
def test_loopback(url, loopback):
    """All of 127.0.0.0/8, ::1 and localhost are this machine, and nothing else is."""
    assert Endpoint("llm", url, "k").is_loopback is loopback


def test_an_endpoint_tells_no_secret():
    """Neither its text nor its host holds the key, nor what stands in the address as one."""
    endpoint = Endpoint("llm", "https://me:sk-canary@host:8/v1?key=sk-canary", "sk-canary")
    assert "sk-canary" not in repr(endpoint).replace(endpoint.base_url, "")
    assert endpoint.host == "host:8"
    assert "canary" not in Endpoint("llm", "me:sk-canary@host?sk-canary", "k").host


def test_keys_and_addresses():
    """A key's line end is cut off; a key or an address that cannot be used is said, with the stage, before a request."""
    settings = openai_settings(" http://h/v1 ", openai_api_key="sk-a\n", llm_api_key="sk-\u00e4", tts_base_url="h/v1")
    clients = Clients(settings)
    assert (clients.endpoints["stt"].api_key, clients.endpoints["stt"].base_url) == ("sk-a", "http://h/v1")
    sentences = {
        "llm": "The language model has a key with characters that no key has.",
        "tts": "Text to speech has no usable address: a base URL begins with http:// or https://.",
    }
    for stage, words in sentences.items():
        with pytest.raises(StageError) as error:
            clients.get(stage)
        assert (error.value.message, error.value.retryable) == (words, False)


def test_which_stages_are_asked():
    """The streams of the cascade, or the voice model alone; over HTTP only what does not talk over Realtime."""
    assert used(settings_for_tests()) == ("stt", "llm", "tts")
    assert used(settings_for_tests(mode="realtime")) == ("realtime",)
    assert over_http(settings_for_tests()) == ("llm", "tts")  # the twin speaks over HTTP
    with_key = {"backend": "openai", "openai_api_key": "sk"}
    assert over_http(settings_for_tests(**with_key)) == ("llm",)
    assert over_http(settings_for_tests(**with_key, tts_model="tts-1", stt_api="file")) == ("llm", "tts", "stt")


# ------------------------------------------------------------------------------------------ the environment
def test_variables_reach_the_wire(monkeypatch):
    """Organisation, project and headers of the environment are on each request and each session."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: voice\nX-Other: 2")

    @virtual_time
    async def run():
        async with Recorder(lambda asked: None if "upgrade" in asked.headers else STREAM) as server:
            clients = Clients(openai_settings(server.base_url))
            await reply(clients)
            with pytest.raises(Exception, match="."):
                async with realtime_session(clients, "stt", {}, query={"intent": "transcription"}):
                    pass
            await clients.aclose()
        http, session = server.asked
        for headers in (http.headers, session.headers):
            assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-1")
            assert (headers["x-team"], headers["x-other"]) == ("voice", "2")
            assert headers["authorization"] == "Bearer sk-canary"

    run()


def test_the_twin_does_not_mind_the_variables(monkeypatch):
    """Where the twin answers, what the environment says of the service does no harm."""
    monkeypatch.setenv("OPENAI_ORG_ID", "org-1")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Team: voice")

    @virtual_time
    async def run():
        async with TwinServer(create_twin(ScriptedEngines(Script(replies=["Hello."])))) as twin:
            settings = settings_for_tests()
            clients = Clients(settings, twin.base_url)
            async with cascade(clients, settings).llm.reply(HELLO, []) as deltas:
                assert "".join([delta.text async for delta in deltas]) == "Hello."
            await clients.aclose()

    run()


def through_proxy(monkeypatch, port, variable):
    """Let the environment name a proxy, and nothing else."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_asked(monkeypatch, variable):
    """A host elsewhere is reached by the environment's proxy, over HTTP and for WebSockets."""

    @virtual_time
    async def run():
        async with Recorder(lambda asked: STREAM if asked.method == "POST" else Answer(b"", status=502)) as proxy:
            through_proxy(monkeypatch, proxy.port, variable)
            clients = Clients(openai_settings("http://api.example.invalid/v1"))
            await reply(clients)
            with pytest.raises(Exception, match="proxy") as error:
                async with realtime_session(clients, "stt", {}, query={"intent": "transcription"}):
                    pass
            failure = clients.explain("stt", error.value)
            await clients.aclose()
        assert [(asked.method, asked.target) for asked in proxy.asked] == [
            ("POST", "http://api.example.invalid/v1/chat/completions"),
            ("CONNECT", "api.example.invalid:80"),
        ]
        assert failure.message == (
            "Speech to text at api.example.invalid cannot be reached: the proxy refuses, or does not answer."
        )

    run()


def test_a_proxy_that_is_not_there(monkeypatch):
    """Nothing listens, but not at the host that is named: the sentence says by which way it was asked, without its password."""

    @virtual_time
    async def run():
        through_proxy(monkeypatch, 1, "HTTP_PROXY")
        monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:1")
        clients = Clients(openai_settings("http://api.example.invalid/v1"))
        said = [await probe(clients, "llm"), await probe_realtime(clients, "llm")]
        await clients.aclose()
        assert [said[0].failure.message, said[1].message] == [
            "The language model at api.example.invalid cannot be reached by way of the proxy: nothing listens there."
        ] * 2

    run()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "ALL_PROXY"])
def test_no_proxy_on_this_machine(monkeypatch, variable):
    """What is on this machine is asked itself, whatever the environment says; and a host that it excepts is too."""

    @virtual_time
    async def run():
        async with Recorder(Answer(b"", status=502)) as proxy, Recorder(STREAM) as server:
            through_proxy(monkeypatch, proxy.port, variable)
            clients = Clients(openai_settings(server.base_url))
            await reply(clients)
            with pytest.raises(Exception, match="."):
                async with realtime_session(clients, "stt", {}, query={"intent": "transcription"}):
                    pass
            await clients.aclose()
        assert proxy.asked == []
        assert len(server.asked) == 2
        monkeypatch.setenv("NO_PROXY", "api.example.invalid")
        assert Endpoint("llm", "http://api.example.invalid/v1", "k").proxy is None
        assert Endpoint("llm", "http://other.invalid/v1", "k").proxy == f"http://127.0.0.1:{proxy.port}"

    run()


# ------------------------------------------------------------------------------------------ connections
@virtual_time
async def test_a_connection_is_measured():
    """A response says whether its connection was there already; an idle one is, for as long as it is kept."""
    async with Recorder(chat_answer) as server:
        clients = Clients(openai_settings(server.base_url))
        first, second = await reply(clients), await reply(clients)
        assert not first.reused
        assert second == Acquired(0, reused=True)  # on the virtual clock nothing takes time
        assert (server.accepted, server.of("models")) == (1, [])  # one that was read to its end is not lost
        pool = clients._servers[next(iter(clients._servers))].http._transport._pool._pool
        assert pool._keepalive_expiry == KEEPALIVE_S
        await clients.aclose()


@virtual_time
async def test_warm():
    """Two connections are opened where model and speech share a server, one at each where they do not; none again."""
    async with Recorder(chat_answer) as shared:
        clients = Clients(openai_settings(shared.base_url))
        for _ in range(3):
            await clients.warm()
            assert shared.accepted == 2
        assert {(asked.method, asked.headers["authorization"]) for asked in shared.asked} == {
            ("HEAD", "Bearer sk-canary")
        }
        assert (await reply(clients)).reused
        await clients.aclose()
    async with Recorder(chat_answer) as one, Recorder(chat_answer) as other:
        clients = Clients(openai_settings(one.base_url, tts_base_url=other.base_url))
        await clients.warm()
        await clients.aclose()
        assert (one.accepted, other.accepted) == (1, 1)
        clients = Clients(openai_settings(one.base_url, tts_api="realtime", tts_base_url=other.base_url))
        await clients.warm()
        await clients.aclose()
        assert (one.accepted, other.accepted) == (2, 1)  # speech over Realtime needs none


@virtual_time
async def test_a_spare_after_a_stream_that_was_left():
    """A stream that is left costs its connection; another is opened meanwhile, and the next request waits for none."""
    answers = [ENDLESS]
    async with Recorder(
        lambda asked: (answers.pop() if answers else STREAM) if asked.method == "POST" else Answer(MODELS)
    ) as server:
        clients = Clients(openai_settings(server.base_url))
        await clients.warm()
        stream = await clients.get("llm").chat.completions.create(model="m", messages=HELLO, stream=True)
        assert (await anext(stream)).choices[0].delta.content == "hi"
        await stream.close()
        await settled(clients)
        assert server.accepted == 3  # two, and the one that took the lost one's place
        assert (await reply(clients)).reused
        assert server.accepted == 3
        await clients.aclose()


@virtual_time
async def test_a_spare_after_a_request_that_was_cancelled():
    """A request that is given up before it was answered costs its connection as well."""
    held = asyncio.Event()

    async with Recorder(
        lambda asked: Answer(b"", stays=True) if asked.method == "POST" and not held.is_set() else chat_answer(asked)
    ) as server:
        clients = Clients(openai_settings(server.base_url))
        await clients.warm()
        asking = asyncio.create_task(reply(clients))
        while not server.of("completions"):
            await asyncio.sleep(0.001)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        held.set()
        await settled(clients)
        accepted = server.accepted
        assert (await reply(clients)).reused
        assert server.accepted == accepted == 3
        await clients.aclose()


@virtual_time
async def test_spares_are_bounded():
    """However many streams are left at once, one spare at a time is opened, and none after the end."""
    async with Recorder(lambda asked: ENDLESS if asked.method == "POST" else Answer(MODELS)) as server:
        clients = Clients(openai_settings(server.base_url))
        ask = clients.get("llm").chat.completions.create
        streams = await asyncio.gather(*(ask(model="m", messages=HELLO, stream=True) for _ in range(8)))
        await asyncio.gather(*(stream.close() for stream in streams))
        await settled(clients)
        assert len(server.of("models")) <= 4
        last = await ask(model="m", messages=HELLO, stream=True)
        asked = len(server.of("models"))
        await clients.aclose()
        await last.close()
        clients.spare("llm")
        await asyncio.sleep(1)
        assert len(server.of("models")) == asked
        assert clients._servers == {}


@virtual_time
async def test_nothing_is_tried_again_below():
    """A failure comes back at once: another try is the turn's to decide."""
    async with Recorder(Answer({"error": {"message": "busy"}}, status=503)) as server:
        clients = Clients(openai_settings(server.base_url))
        with pytest.raises(Exception, match="busy"):
            await reply(clients)
        await clients.aclose()
        assert len(server.asked) == 1


@virtual_time
async def test_what_is_closed_first():
    """What was registered is closed before the clients, the last first."""
    closed = []
    async with Recorder(chat_answer) as server:
        clients = Clients(openai_settings(server.base_url))
        await reply(clients)

        def close(name):
            async def run():
                closed.append((name, len(clients._servers)))

            return run

        clients.on_close(close("first"))
        clients.on_close(close("second"))
        await clients.aclose()
    assert closed == [("second", 1), ("first", 1)]
    assert json.loads(server.asked[0].body)["model"] == "m"
