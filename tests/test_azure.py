"""Azure through the SDK's own client: deployments in the address, the version in the query, the key in its own header."""

import pytest

from tests.serving import Answer, Recorder
from tests.test_clients import HELLO, chat_answer
from tests.virtual import virtual_time
from tests.world import settings_for_tests
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import Clients, Endpoint
from voiceagent.stages.realtime import realtime_session


def azure(url, **more):
    """Settings of an Azure resource at `url`."""
    chosen = {"azure_endpoint": url, "azure_api_key": "az-canary", "azure_api_version": "2025-08-28"}
    models = {"stt_model": "my-stt", "llm_model": "my-llm", "tts_model": "my-tts", "realtime_model": "my-voice"}
    return settings_for_tests(**{"backend": "auto", "tts_api": "speech"} | chosen | models | more)


@virtual_time
async def test_azure_over_http():
    """Requests go to the deployments of their models, with the version and the key as Azure wants them."""

    def answer(asked):
        return Answer(b"\0\0", content_type="audio/pcm") if "speech" in asked.target else chat_answer(asked)

    async with Recorder(answer) as server:
        settings = azure(server.base_url.removesuffix("/v1") + "/")
        clients = Clients(settings)
        made = cascade(clients, settings)
        async with made.llm.reply(HELLO, []) as deltas:
            assert "".join([delta.text async for delta in deltas]) == "hi"
        async with made.tts.speak("x") as parts:
            assert [part async for part in parts if isinstance(part, bytes)] == [b"\0\0"]
        await clients.warm()
        await clients.aclose()
    targets = [asked.target for asked in server.asked]
    assert targets == [
        "/openai/deployments/my-llm/chat/completions?api-version=2025-08-28",
        "/openai/deployments/my-tts/audio/speech?api-version=2025-08-28",
        *["/openai/models?api-version=2025-08-28"] * 2,
    ]
    assert {asked.headers["api-key"] for asked in server.asked} == {"az-canary"}
    assert not any("authorization" in asked.headers for asked in server.asked)


@pytest.mark.parametrize(
    ("stage", "query", "target"),
    [
        ("stt", {"intent": "transcription"}, "intent=transcription&api-version=2025-08-28&deployment=my-stt"),
        ("realtime", {"model": "my-voice"}, "api-version=2025-08-28&deployment=my-voice"),
        ("tts", {"model": "my-tts"}, "api-version=2025-08-28&deployment=my-tts"),
    ],
)
def test_azure_over_realtime(stage, query, target):
    """A session names its deployment in the address: a model's own, also where the model stands in the session."""

    @virtual_time
    async def run():
        async with Recorder(Answer({"error": {}}, status=401)) as server:
            clients = Clients(azure(server.base_url.removesuffix("/v1")))
            with pytest.raises(Exception, match="401"):
                async with realtime_session(clients, stage, {}, query=query):
                    pass
            await clients.aclose()
        (asked,) = server.asked
        assert asked.target == "/openai/realtime?" + target
        assert asked.headers["api-key"] == "az-canary"
        assert asked.headers["upgrade"] == "websocket"

    run()


def test_azure_and_others():
    """A stage with an address of its own is plain beside Azure; without Azure's own key nothing goes there."""
    clients = Clients(azure("https://r.openai.azure.com", llm_base_url="http://vllm/v1"))
    assert clients.endpoints["llm"] == Endpoint("llm", "http://vllm/v1", "none")
    assert clients.endpoints["tts"] == Endpoint("tts", "https://r.openai.azure.com/openai", "az-canary", "2025-08-28")
    other = Clients(azure("https://r.openai.azure.com", azure_api_key=None, openai_api_key="sk-canary"))
    assert other.endpoints["tts"] == Endpoint("tts", "https://api.openai.com/v1", "sk-canary")
    local = Clients(azure("https://r.openai.azure.com", backend="local"), "http://127.0.0.1:9/v1")
    assert local.endpoints["tts"] == Endpoint("tts", "http://127.0.0.1:9/v1", "local")
