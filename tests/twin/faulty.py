"""A twin under faults and its clients, for the tests of fault plans."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager

import httpx2
import openai
from websockets.asyncio.client import connect

from voiceagent.twin import Script, ScriptedEngines, TwinServer, create_twin
from voiceagent.twin.faults import FaultPlan
from voiceagent.twin.scripted import tone

AUDIO = base64.b64encode(tone(24_000)).decode()
MESSAGES = [{"role": "user", "content": "hello"}]
DONE = "input_audio_transcription."


class Twin:
    """A twin under faults, a client of the SDK, a bare one, and the plan."""

    def __init__(self, server, client, http, plan, engines):
        self.server, self.client, self.http, self.plan, self.engines = server, client, http, plan, engines
        self.loop = asyncio.get_running_loop()
        self.root = server.base_url.removesuffix("/v1")

    @property
    def now_ms(self):
        return round(self.loop.time() * 1000)

    def socket(self, query="?intent=transcription", **headers):
        url = self.server.base_url.replace("http", "ws") + "/realtime" + query
        return connect(url, proxy=None, additional_headers={"Authorization": "Bearer any", **headers})

    @asynccontextmanager
    async def session(self, **headers):
        """An updated transcription session."""
        async with self.socket(**headers) as ws:
            await ws.send(UPDATE)
            assert [event["type"] for event in await take(ws, 2)] == ["session.created", "session.updated"]
            yield ws

    async def chat(self, **options):
        """The text of a streamed answer."""
        text = ""
        async for chunk in await self.client.chat.completions.create(
            model="m", messages=MESSAGES, stream=True, **options
        ):
            text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
        return text

    async def speech(self, text="hello", **options):
        """The pieces of a speech answer, and when each came (milliseconds)."""
        async with self.client.audio.speech.with_streaming_response.create(
            model="tts-1", voice="alloy", input=text, **{"response_format": "pcm", **options}
        ) as response:
            return [(self.now_ms, piece) async for piece in response.iter_bytes()]


UPDATE = json.dumps({
    "type": "session.update",
    "session": {
        "type": "transcription",
        "audio": {"input": {"transcription": {"model": "gpt-transcribe"}, "turn_detection": None}},
    },
})  # fmt: skip
APPEND = json.dumps({"type": "input_audio_buffer.append", "audio": AUDIO})
COMMIT = json.dumps({"type": "input_audio_buffer.commit", "event_id": "mine"})
ORDER = ["input_audio_buffer.committed", "added", "done", DONE + "delta", DONE + "completed"]


async def take(ws, count):
    """The next events."""
    return [json.loads(await ws.recv()) for _ in range(count)]


async def say(ws):
    """Send a second of voice and commit it."""
    await ws.send(APPEND)
    await ws.send(COMMIT)


def kinds(events):
    """Their types, without the common beginning."""
    return [event["type"].removeprefix("conversation.item.") for event in events]


async def texts_into(texts, stream):
    """Add the texts of a streamed answer, one by one: a failure leaves those before it."""
    async for chunk in stream:
        texts += [chunk.choices[0].delta.content]


@asynccontextmanager
async def faulty(*rules, script=None, header=True):
    """A twin with these rules."""
    engines, plan = ScriptedEngines(script or Script(partials=False)), FaultPlan(list(rules))
    app = create_twin(engines, faults=plan) if header else create_twin(engines)
    async with TwinServer(app) as server:
        http = openai.DefaultAsyncHttpx2Client(trust_env=False)
        async with (
            openai.AsyncOpenAI(api_key="any", base_url=server.base_url, max_retries=0, http_client=http) as client,
            httpx2.AsyncClient(trust_env=False, headers={"Authorization": "Bearer any"}) as bare,
        ):
            yield Twin(server, client, bare, plan, engines)
        await asyncio.sleep(0.1)
