"""Who may open a Realtime session, and how: keys in headers and subprotocols, ephemeral ones, and what is refused."""

import asyncio
import json
import time

import openai
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conformance.wire import dialog

TRANSCRIPTION = "?intent=transcription"


def socket(target, query=TRANSCRIPTION, *, key=None, subprotocols=None, **headers):
    """A bare WebSocket; the key goes into the header unless it is in the subprotocols."""
    if subprotocols is None:
        headers["Authorization"] = f"Bearer {key or target.api_key}"
    return connect(
        target.ws_url + query, additional_headers=headers, subprotocols=subprotocols, **target.socket_options
    )


def by_subprotocol(key):
    """How a browser brings its key."""
    return ["realtime", f"openai-insecure-api-key.{key}"]


async def first(target, websocket):
    """The first event."""
    async with asyncio.timeout(target.deadline_s):
        return json.loads(await websocket.recv())


# ------------------------------------------------------------------------------------------ keys
async def test_by_subprotocol(target):
    """A browser brings its key as a subprotocol, and `realtime` is agreed on."""
    await target.needs("realtime_transcription")
    async with socket(target, subprotocols=by_subprotocol(target.api_key)) as websocket:
        assert websocket.subprotocol == "realtime"
        assert (await first(target, websocket))["type"] == "session.created"


async def test_no_subprotocol_is_forced(target):
    """Who offers none gets none."""
    await target.needs("realtime_transcription")
    async with socket(target) as websocket:
        assert websocket.subprotocol is None


async def test_a_wrong_key(target):
    """A wrong key is refused in the handshake with 401 and the shape of an error."""
    await target.needs("realtime_transcription", "keys")
    for protocols in (None, by_subprotocol("sk-wrong")):
        with pytest.raises(InvalidStatus) as refused:
            async with socket(target, key="sk-wrong", subprotocols=protocols):
                pass
        assert refused.value.response.status_code == 401
        if target.is_twin:
            assert json.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"


# ------------------------------------------------------------------------------------------ what is asked for
async def refusal(target, query, **headers):
    """The error's code and the close code of a session that is refused after the handshake, or the status before it."""
    try:
        async with socket(target, query, **headers) as websocket:
            event = await first(target, websocket)
            assert event["type"] == "error", event
            with pytest.raises(ConnectionClosed) as closed:
                await first(target, websocket)
            return event["error"]["code"], closed.value.rcvd.code
    except InvalidStatus as refused:
        return refused.response.status_code, None


async def test_the_beta_shape_is_refused(target):
    """The shape of the beta is over: an error with its code and close code 4000."""
    await target.needs("realtime_transcription")
    headers = {"OpenAI-Beta": "realtime=v1"}
    assert await refusal(target, TRANSCRIPTION, **headers) == ("beta_api_shape_disabled", 4000)


async def test_neither_model_nor_intent(target):
    """A session of nothing is refused."""
    await target.needs("realtime_conversation")
    assert await refusal(target, "") == ("missing_model", 4000) or not target.is_twin


async def test_unknown_parameters_are_ignored(target):
    """A parameter of the URL that nobody knows does no harm."""
    await target.needs("realtime_transcription")
    async with socket(target, TRANSCRIPTION + "&colour=green") as websocket:
        assert (await first(target, websocket))["type"] == "session.created"


# ------------------------------------------------------------------------------------------ ephemeral keys
async def test_a_secret_for_a_conversation(target):
    """An ephemeral key opens a session configured as it was made for, and may be shown to a browser."""
    await target.needs("client_secrets", "realtime_conversation")
    before = int(time.time())
    made = await target.client.realtime.client_secrets.create(
        expires_after={"anchor": "created_at", "seconds": 60},
        session={"type": "realtime", "model": target.models["realtime"], "instructions": "Answer in rhymes."},
    )
    assert made.value.startswith("ek_")
    assert before + 30 < made.expires_at < before + 120
    assert (made.session.type, made.session.instructions) == ("realtime", "Answer in rhymes.")
    query = f"?model={target.models['realtime']}"
    async with socket(target, query, subprotocols=by_subprotocol(made.value)) as websocket:
        event = await first(target, websocket)
    assert event["type"] == "session.created"
    assert event["session"]["instructions"] == "Answer in rhymes."


async def test_a_secret_for_transcription(target):
    """The same for transcription, through the SDK, and more than once."""
    await target.needs("client_secrets", "realtime_transcription")
    wanted = {"type": "transcription", "audio": {"input": {"transcription": {"model": target.models["stt"]}}}}
    made = await target.client.realtime.client_secrets.create(session=wanted)
    assert made.session.type == "transcription"
    other = target.client.with_options(api_key=made.value)
    for _ in range(2):
        options = {"extra_query": {"intent": "transcription"}, "websocket_connection_options": target.socket_options}
        async with other.realtime.connect(**options) as connection:
            event = json.loads(await connection.recv_bytes())
            assert event["type"] == "session.created"
            assert event["session"]["audio"]["input"]["transcription"]["model"] == target.models["stt"]


@pytest.mark.parametrize("seconds", [1, 100_000])
async def test_a_secrets_life(target, seconds):
    """A key lives for ten seconds to two hours."""
    await target.needs("client_secrets")
    with pytest.raises(openai.BadRequestError) as refused:
        await target.client.realtime.client_secrets.create(
            expires_after={"anchor": "created_at", "seconds": seconds},
            session={"type": "realtime", "model": target.models["realtime"]},
        )
    assert refused.value.type == "invalid_request_error"


async def test_a_made_up_secret(target):
    """What looks like an ephemeral key is none until it was made."""
    await target.needs("client_secrets", "keys")
    with pytest.raises(InvalidStatus) as refused:
        async with socket(target, key="ek_0123456789abcdef"):
            pass
    assert refused.value.response.status_code == 401


async def test_the_sdk_opens_what_a_bare_socket_does(target):
    """The SDK's own way in, by intent and by model."""
    await target.needs("realtime_transcription", "realtime_conversation")
    for query in ({"intent": "transcription"}, {"model": target.models["realtime"]}):
        async with dialog(target, **query) as talk:
            kind = "transcription" if "intent" in query else "realtime"
            assert (await talk.until("session.created"))["session"]["type"] == kind
