"""The twin's HTTP face: chat completions, speech, models, auth, and OpenAI's errors everywhere."""

import asyncio
import base64
import contextlib
import hmac
import json
import struct
import time
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from voiceagent.twin.errors import error_body, error_response, identifier
from voiceagent.twin.ports import EngineError, Engines, FunctionCall, WordEnd
from voiceagent.twin.realtime import serve
from voiceagent.twin.secrets import session_of

if TYPE_CHECKING:
    from voiceagent.twin.faults import FaultPlan

MODELS = {
    "gpt-live-transcribe": None, "gpt-realtime-whisper": None, "gpt-transcribe": None,
    "gpt-4o-transcribe": "2027-02-26", "gpt-4o-mini-transcribe": "2027-02-26", "whisper-1": "2027-02-26",
    "gpt-6-luna": None, "gpt-6-sol": None, "gpt-5.4-mini": None, "gpt-4.1-mini": "2027-01-14",
    "gpt-4o-mini-tts": "2027-01-06", "tts-1": "2027-01-06",
}  # fmt: skip
MAX_BODY_BYTES = 4 * 1024 * 1024
MAX_INPUT_CHARS = 4096
RATE_HZ = 24_000
TOKENS_PER_S = 20  # of audio, roughly
T = TypeVar("T")


class ClientGone(Exception):  # noqa: N818 - what happened
    """The client closed its connection before the answer began."""


class BadRequest(Exception):  # noqa: N818 - an answer
    """Answered with status 400 and the parameter that is wrong."""

    def __init__(self, message: str, param: str | None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class Twin:
    """The endpoints over one set of engines. Without `api_key` any key that is not empty will do."""

    def __init__(self, engines: Engines, api_key: str | None) -> None:
        self._engines = engines
        self._api_key = api_key

    # ------------------------------------------------------------------------------ auth
    def _allowed(self, key: str) -> bool:
        return bool(key) if self._api_key is None else hmac.compare_digest(key.encode(), self._api_key.encode())

    def _key(self, headers: Any, protocols: list[str]) -> str:
        bearer = headers.get("authorization", "")
        if bearer.lower().startswith("bearer "):
            return str(bearer[7:].strip())
        prefix = "openai-insecure-api-key."
        for offered in protocols:
            if offered.startswith(prefix):
                return offered[len(prefix) :]
        return str(headers.get("api-key", ""))

    def _refusal(self, headers: Any, protocols: list[str]) -> JSONResponse | None:
        key = self._key(headers, protocols)
        if self._allowed(key):
            return None
        text = "Incorrect API key provided." if key else "You didn't provide an API key."
        return error_response(401, text, code="invalid_api_key")

    # ------------------------------------------------------------------------------ realtime
    async def realtime(self, websocket: WebSocket) -> None:
        """Serve ``/v1/realtime``; an ephemeral key opens a session with the settings that it was made for."""
        protocols = list(websocket.scope.get("subprotocols", ()))
        secret = session_of(self._key(websocket.headers, protocols))
        refusal = self._refusal(websocket.headers, protocols) if secret is None else None
        if refusal is not None:
            await websocket.send_denial_response(refusal)
            return
        await websocket.accept("realtime" if "realtime" in protocols else None)
        await serve(websocket, self._engines, secret)

    # ------------------------------------------------------------------------------ chat
    async def chat(self, request: Request) -> Response:
        """Serve ``/v1/chat/completions``; parameters that it does not know are ignored."""
        body = await _json(request)
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
            raise BadRequest("Missing required parameter: 'messages'.", "messages", "missing_required_parameter")
        if not isinstance(body.get("model"), str):
            raise BadRequest("you must provide a model parameter", "model")
        tokens = self._engines.reply(messages, body.get("tools") or [])
        first = await _while_there(
            request, anext(tokens, None)
        )  # an engine that refuses does so before the status line
        chunks = _Chat(body, messages)
        if body.get("stream"):
            return _EventStream(chunks.events(_joined(first, tokens)))
        return JSONResponse(
            await _while_there(request, chunks.whole(_joined(first, tokens))),
            headers={"x-request-id": identifier("req")},
        )

    # ------------------------------------------------------------------------------ speech
    async def speech(self, request: Request) -> Response:
        """Serve ``/v1/audio/speech`` in pcm and wav, as audio or as events."""
        body = await _json(request)
        text, form = body.get("input"), body.get("response_format", "mp3")
        if not isinstance(text, str) or not text.strip():
            raise BadRequest("Missing required parameter: 'input'.", "input", "missing_required_parameter")
        if len(text) > MAX_INPUT_CHARS:
            raise BadRequest(f"'input' must have at most {MAX_INPUT_CHARS} characters.", "input", "string_too_long")
        if form not in {"pcm", "wav"}:
            said = f"Unsupported response_format '{str(form)[:20]}': this server speaks 'pcm' and 'wav'."
            raise BadRequest(said, "response_format", "unsupported_format")
        speed = body.get("speed", 1.0)
        if not isinstance(speed, int | float) or not 0.25 <= speed <= 4:
            raise BadRequest("'speed' must be between 0.25 and 4.", "speed")
        voice = body.get("voice", "alloy")
        name = voice.get("id", "") if isinstance(voice, dict) else str(voice)
        streamed = body.get("stream_format", "audio")
        if streamed not in {"audio", "sse"}:
            raise BadRequest("'stream_format' must be 'audio' or 'sse'.", "stream_format")
        words: list[WordEnd] = []
        on_words = words.extend if streamed == "sse" and form == "pcm" else None
        chunks = self._engines.speak(text, name, float(speed), on_words)
        first = await _while_there(request, anext(chunks, None))
        audio = _joined(first, chunks)
        if form == "wav":
            audio = _joined(_endless_wav_header(), audio)
        if streamed == "sse":
            return _EventStream(_speech_events(text, audio, words))
        return StreamingResponse(
            audio, media_type="audio/pcm" if form == "pcm" else "audio/wav",
            headers={"x-request-id": identifier("req")},
        )  # fmt: skip

    # ------------------------------------------------------------------------------ models
    async def models(self, request: Request) -> Response:
        """Serve ``/v1/models``."""
        del request
        return JSONResponse({"object": "list", "data": [_model(name) for name in MODELS]})

    async def model(self, request: Request) -> Response:
        """Serve ``/v1/models/{model}``."""
        name = request.path_params["model"]
        if name not in MODELS:
            return error_response(
                404, f"The model '{name[:80]}' does not exist.", code="model_not_found", param="model"
            )
        return JSONResponse(_model(name))


class _EventStream(StreamingResponse):
    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, headers={"x-request-id": identifier("req"), "cache-control": "no-cache"})


class _Chat:
    """The shapes of one completion."""

    def __init__(self, body: dict[str, Any], messages: list[Any]) -> None:
        self._body = body
        self._base = {"id": identifier("chatcmpl"), "created": int(time.time()), "model": body["model"]}
        self._prompt_tokens = sum(len(str(message.get("content") or "").split()) for message in messages)
        self._count = 0

    def _usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": self._prompt_tokens, "completion_tokens": self._count,
            "total_tokens": self._prompt_tokens + self._count, "prompt_tokens_details": {"cached_tokens": 0},
        }  # fmt: skip

    def _chunk(self, delta: dict[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**self._base, "object": "chat.completion.chunk", "choices": [choice]})

    async def events(self, tokens: AsyncIterator[str | FunctionCall]) -> AsyncIterator[bytes]:
        """Stream it."""
        yield self._chunk({"role": "assistant", "content": ""})
        finish, limit = "stop", self._limit
        try:
            async for token in tokens:
                if isinstance(token, FunctionCall):
                    finish = "tool_calls"
                    yield self._chunk({"tool_calls": [_call(token)]})
                    continue
                if self._count >= limit:
                    finish = "length"
                    break
                self._count += 1
                yield self._chunk({"content": token})
        except EngineError as error:
            yield _event(error_body(error.message, kind="server_error", code=error.code))
            return
        yield self._chunk({}, finish)
        if (self._body.get("stream_options") or {}).get("include_usage"):
            yield _event({**self._base, "object": "chat.completion.chunk", "choices": [], "usage": self._usage()})
        yield b"data: [DONE]\n\n"

    async def whole(self, tokens: AsyncIterator[str | FunctionCall]) -> dict[str, Any]:
        """Return it at once."""
        text, calls = "", []
        async for token in tokens:
            if isinstance(token, FunctionCall):
                calls.append(_call(token))
            elif self._count < self._limit:
                self._count += 1
                text += token
        message: dict[str, Any] = {"role": "assistant", "content": text or None, "refusal": None}
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "tool_calls" if calls else "stop"}
        return {**self._base, "object": "chat.completion", "choices": [choice], "usage": self._usage()}

    @property
    def _limit(self) -> int:
        limit = self._body.get("max_completion_tokens") or self._body.get("max_tokens")
        return limit if isinstance(limit, int) and limit > 0 else 100_000


def _call(call: FunctionCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": 0, "id": identifier("call"), "type": "function", "function": function}


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


async def _speech_events(text: str, audio: AsyncIterator[bytes], words: list[WordEnd]) -> AsyncIterator[bytes]:
    """Stream speech as events; the engine adds to `words` before the audio they end in, and they are told before it."""
    samples = 0
    try:
        async for pcm in audio:
            samples += len(pcm) // 2
            delta = b'data: {"type": "speech.audio.delta", "audio": "%b"}\n\n' % base64.b64encode(pcm)
            yield _word_event(words) + delta
            words.clear()
    except EngineError as error:
        yield _event(error_body(error.message, kind="server_error", code=error.code))
        return
    tokens_in, tokens_out = len(text.split()), samples // (RATE_HZ // TOKENS_PER_S)
    usage = {"input_tokens": tokens_in, "output_tokens": tokens_out, "total_tokens": tokens_in + tokens_out}
    yield _word_event(words) + _event({"type": "speech.audio.done", "usage": usage})


def _word_event(words: list[WordEnd]) -> bytes:
    """An addition to the service's events: another client passes over a type that it does not know."""
    ends = [{"end_char": word.end_char, "end_ms": word.end_ms} for word in words]
    return _event({"type": "speech.audio.words", "words": ends}) if ends else b""


def _model(name: str) -> dict[str, Any]:
    shutdown = MODELS[name]
    entry: dict[str, Any] = {"id": name, "object": "model", "created": 1_767_225_600, "owned_by": "twin"}
    return entry | ({"shutdown_date": shutdown} if shutdown else {})


def _endless_wav_header() -> bytes:
    """A header whose lengths are unknown, as a streaming server writes it."""
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 24_000, 48_000, 2, 16)
    return b"RIFF\xff\xff\xff\xffWAVE" + fmt + b"data\xff\xff\xff\xff"


async def _joined(first: T | None, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    try:
        if first:
            yield first
        async for item in rest:
            yield item
    finally:
        close = getattr(rest, "aclose", None)
        if close is not None:
            await close()


async def _while_there(request: Request, work: Awaitable[T]) -> T:
    """What the work comes to; a client that leaves meanwhile ends it."""
    getting: asyncio.Future[T] = asyncio.ensure_future(work)
    leaving: asyncio.Future[None] = asyncio.ensure_future(_gone(request))
    both: set[asyncio.Future[Any]] = {getting, leaving}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not getting.done():
            raise ClientGone
        return getting.result()
    finally:
        for task in (getting, leaving):
            task.cancel()
        await asyncio.gather(getting, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _json(request: Request) -> dict[str, Any]:
    raw = b""
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > MAX_BODY_BYTES:
            raise BadRequest("The request is too large.", None)
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadRequest("We could not parse the JSON body of your request.", None) from None
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object.", None)
    return body


def create_twin(
    engines: Engines, api_key: str | None = None, faults: "FaultPlan | None" = None, *, fault_header: bool | None = None
) -> Starlette:
    """Return the application; the engines start and end with it.

    `faults`: what goes wrong. `fault_header`: clients may bring faults of their own; as a rule if there is a plan.
    """
    app = _application(engines, api_key)
    if faults is not None or fault_header:
        from voiceagent.twin.faults import FaultPlan
        from voiceagent.twin.faulty import FaultMiddleware

        header = fault_header is None or fault_header
        app.add_middleware(FaultMiddleware, plan=faults or FaultPlan(), header=header)
    return app


def _application(engines: Engines, api_key: str | None) -> Starlette:
    twin = Twin(engines, api_key)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await engines.start()
        try:
            yield
        finally:
            await engines.aclose()

    def guarded(endpoint: Any) -> Any:
        async def guard(request: Request) -> Response:
            refusal = twin._refusal(request.headers, [])  # noqa: SLF001 - the same room
            return refusal if refusal is not None else await endpoint(request)

        return guard

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def nowhere_ws(websocket: WebSocket) -> None:
        await websocket.send_denial_response(error_response(404, "Unknown URL.", code="unknown_url"))

    async def bad_request(_: Request, error: Exception) -> Response:
        assert isinstance(error, BadRequest)  # noqa: S101 - by its registration
        return error_response(400, str(error), param=error.param, code=error.code)

    async def engine_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, EngineError)  # noqa: S101 - by its registration
        return error_response(error.status, error.message, code=error.code)

    async def client_gone(_: Request, __: Exception) -> Response:
        return Response(status_code=499)

    async def nowhere(request: Request, _: Exception) -> Response:
        where = f"{request.method} {request.url.path[:100]}"
        return error_response(404, f"Unknown request URL: {where}.", code="unknown_url")

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/v1/models", guarded(twin.models)),
            Route("/v1/models/{model:path}", guarded(twin.model)),
            Route("/v1/chat/completions", guarded(twin.chat), methods=["POST"]),
            Route("/v1/audio/speech", guarded(twin.speech), methods=["POST"]),
            WebSocketRoute("/v1/realtime", twin.realtime),
            WebSocketRoute("/{path:path}", nowhere_ws),
        ],
        exception_handlers={
            BadRequest: bad_request,
            EngineError: engine_error,
            ClientGone: client_gone,
            404: nowhere,
            405: nowhere,
        },
        lifespan=lifespan,
    )
