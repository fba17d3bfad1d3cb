"""Ephemeral keys of the twin: what they are made for, and how long they are good."""

import json

import openai
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.twin.realtime import MODEL, serving
from tests.virtual import virtual_time
from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin, secrets
from voiceagent.twin.configs import Rejected
from voiceagent.twin.secrets import client_secret, session_of

OPTIONS = {"proxy": None, "close_timeout": 1}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"expires_after": {"anchor": "now", "seconds": 60}}, "expires_after.anchor"),
        ({"expires_after": {"seconds": 9}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": 7201}}, "expires_after.seconds"),
        ({"expires_after": {"seconds": "60"}}, "expires_after.seconds"),
        ({"session": {"type": "other"}}, "session.type"),
        ({"session": {"type": "realtime", "output_modalities": ["smell"]}}, "session.output_modalities"),
    ],
)
def test_a_key_that_is_not_made(body, param):
    """The parameter that is wrong is named."""
    with pytest.raises(Rejected) as rejected:
        client_secret(body)
    assert rejected.value.param == param


def test_keys_expire(monkeypatch):
    """A key is good as long as it was asked for, ten minutes if nothing was said; the oldest are forgotten."""
    now_s = [1_000.0]
    monkeypatch.setattr(secrets.time, "time", lambda: now_s[0])
    usual, short = client_secret({}), client_secret({"expires_after": {"anchor": "created_at", "seconds": 10}})
    assert (usual["expires_at"], short["expires_at"]) == (1_600, 1_010)
    assert usual["value"].startswith("ek_")
    assert usual["session"]["id"].startswith("sess_")
    assert usual["session"]["type"] == "realtime"
    assert session_of(short["value"]) == {"type": "realtime"}
    now_s[0] = 1_010.0
    assert session_of(short["value"]) is None
    assert session_of(usual["value"]) is not None
    monkeypatch.setattr(secrets, "MAX_SECRETS", 1)
    newest = client_secret({})
    assert session_of(usual["value"]) is None
    assert session_of(newest["value"]) is not None


@virtual_time
async def test_an_ephemeral_key_opens_its_session():
    """It is taken beside the server's own key, and the session is set as it was made for."""
    made = client_secret({"session": {"type": "realtime", "model": MODEL, "instructions": "Be brief."}})
    async with serving(ScriptedEngines(Script()), api_key="right") as client:
        own = client.with_options(api_key=made["value"])
        async with own.realtime.connect(model="x", websocket_connection_options=OPTIONS) as connection:
            event = json.loads(await connection.recv_bytes())
            assert (event["session"]["model"], event["session"]["instructions"]) == (MODEL, "Be brief.")
        with pytest.raises(InvalidStatus) as refused:
            other = client.with_options(api_key="ek_wrong")
            await other.realtime.connect(model=MODEL, websocket_connection_options=OPTIONS).enter()
        assert refused.value.response.status_code == 401


@virtual_time
async def test_names_in_sessions_of_a_strict_twin():
    """A strict twin refuses names that are none, and models of another kind, in updates, queries and keys too."""
    where = "session.audio.input.transcription.model"

    def session(kind, transcriber, **more):
        return {"type": kind, "audio": {"input": {"transcription": {"model": transcriber}}}, **more}

    async with serving(ScriptedEngines(Script()), strict_models=True) as client:
        for kind, opened in (
            ("transcription", {"extra_query": {"intent": "transcription"}}), ("realtime", {"model": MODEL}),
        ):  # fmt: skip
            async with client.realtime.connect(**opened, websocket_connection_options=OPTIONS) as connection:
                answers = []
                for name in ("gpt-none", "gpt-6-luna", "gpt-live-transcribe"):
                    await connection.send({"type": "session.update", "session": session(kind, name)})
                    while (event := json.loads(await connection.recv_bytes()))["type"].endswith("created"):
                        pass
                    answers.append(event["error"] if event["type"] == "error" else event["session"])
            assert [answer.get("code") for answer in answers] == ["model_not_found", "invalid_model", None]
            assert [answer.get("param") for answer in answers] == [where, where, None]
        with pytest.raises(InvalidStatus) as refused:
            query = {"intent": "transcription", "model": "gpt-none"}
            await client.realtime.connect(extra_query=query, websocket_connection_options=OPTIONS).enter()
        assert refused.value.response.status_code == 404
        for made, param in (
            (session("transcription", "gpt-none"), where), (session("realtime", "gpt-none"), where),
            ({"type": "realtime", "model": "gpt-none"}, "session.model"),
        ):  # fmt: skip
            with pytest.raises(openai.BadRequestError) as bad:
                await client.realtime.client_secrets.create(session=made)
            assert (bad.value.code, bad.value.param) == ("model_not_found", param)


@virtual_time
async def test_a_browser_brings_its_key_as_a_subprotocol():
    """A key that was made for transcription opens such a session, whatever the query asks for."""
    made = client_secret(
        {"session": {"type": "transcription", "audio": {"input": {"noise_reduction": {"type": "far_field"}}}}}
    )
    async with TwinServer(create_twin(ScriptedEngines(Script()), "right")) as server:
        url = server.base_url.replace("http", "ws") + f"/realtime?model={MODEL}"
        offered = ["realtime", f"openai-insecure-api-key.{made['value']}"]
        async with connect(url, proxy=None, subprotocols=offered) as ws:
            session = json.loads(await ws.recv())["session"]
            assert ws.subprotocol == "realtime"
            assert session["type"] == "transcription"
            assert session["audio"]["input"]["noise_reduction"] == {"type": "far_field"}
            assert session["audio"]["input"]["transcription"] == {"model": MODEL}
