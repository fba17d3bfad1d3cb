"""What a server has: one request a capability. A probe returns what the server said if it has not, else nothing."""

import json

import openai
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.conformance.targets import Target, probe

LACKING = (404, 405, 501)


async def _answered(target: Target, method: str, path: str, body: dict | None = None) -> str | None:
    """What a request says that has nowhere to go; any other answer shows that somebody is there."""
    client = target.client
    try:
        if method == "get":
            await client.get(path, cast_to=object)
        else:
            await client.post(path, cast_to=object, body=body)
    except openai.APIStatusError as error:
        if error.status_code in LACKING and "model" not in str(error.code or ""):
            return f"{error.status_code} for {path}"
    return None


@probe
async def models(target: Target) -> str | None:
    """The list of models."""
    return await _answered(target, "get", "/models")


@probe
async def keys(target: Target) -> str | None:
    """Whether it looks at keys at all."""
    try:
        await target.client.with_options(api_key="sk-wrong").models.list()
    except openai.AuthenticationError:
        return None
    except openai.APIStatusError:
        pass
    return "a wrong key is let in"


@probe
async def chat(target: Target) -> str | None:
    """Chat completions."""
    return await _answered(target, "post", "/chat/completions", {})


@probe
async def responses(target: Target) -> str | None:
    """Responses."""
    return await _answered(target, "post", "/responses", {})


@probe
async def speech(target: Target) -> str | None:
    """Speech over HTTP."""
    return await _answered(target, "post", "/audio/speech", {})


@probe
async def transcriptions(target: Target) -> str | None:
    """Transcription of files."""
    return await _answered(target, "post", "/audio/transcriptions", {})


@probe
async def client_secrets(target: Target) -> str | None:
    """Ephemeral keys."""
    return await _answered(target, "post", "/realtime/client_secrets", {"session": {"type": "nonsense"}})


async def _session(target: Target, query: str) -> str | None:
    headers = {"Authorization": f"Bearer {target.api_key}"}
    try:
        async with connect(target.ws_url + query, additional_headers=headers, **target.socket_options) as socket:
            event = json.loads(await socket.recv())
    except InvalidStatus as error:
        return f"{error.response.status_code} for {query}"
    except ConnectionClosed as error:
        return f"closed with {error.rcvd.code if error.rcvd else 'nothing'}"
    return None if event["type"] == "session.created" else str(event.get("error", event)["message"])


@probe
async def realtime_transcription(target: Target) -> str | None:
    """Realtime sessions that transcribe."""
    return await _session(target, "?intent=transcription")


@probe
async def realtime_conversation(target: Target) -> str | None:
    """Realtime sessions that answer."""
    return await _session(target, f"?model={target.models['realtime']}")
