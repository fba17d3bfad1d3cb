"""The twin as an application: its routes, who may use them, and OpenAI's errors everywhere."""

import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from voiceagent.twin.caching import PromptCache
from voiceagent.twin.catalogue import Catalogue
from voiceagent.twin.catalogue import Kind as ModelKind
from voiceagent.twin.chat import Chat
from voiceagent.twin.configs import Kind, Rejected
from voiceagent.twin.errors import error_response, identifier
from voiceagent.twin.http import BadRequest, ClientGone, json_body, object_of
from voiceagent.twin.ports import EngineError, Engines
from voiceagent.twin.realtime import serve
from voiceagent.twin.responses import ResponsesApi
from voiceagent.twin.secrets import client_secret, session_of
from voiceagent.twin.services import SERVICES, chosen_services
from voiceagent.twin.speech import Speech
from voiceagent.twin.transcriptions import Transcriptions

if TYPE_CHECKING:
    from voiceagent.twin.faults import FaultPlan

Endpoint = Callable[[Request], Awaitable[Response]]
_KINDS: dict[Kind, tuple[ModelKind, ...]] = {"realtime": ("realtime",), "transcription": ("stt", "live stt")}


class Twin:
    """Who may use it, and its sessions and models. Without `api_key` any key that is not empty will do."""

    def __init__(
        self, engines: Engines, api_key: str | None, services: Collection[str] = SERVICES, *, strict: bool = False
    ) -> None:
        self._engines = engines
        self._api_key = api_key
        self.services = [name for name in SERVICES if name in services]
        self.catalogue = Catalogue(self.services, strict=strict)

    @property
    def converses(self) -> bool:
        """Whether it has all that a Realtime conversation takes."""
        return len(self.services) == len(SERVICES)

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

    def guarded(self, endpoint: Endpoint) -> Endpoint:
        """Return the endpoint for those who have a key."""

        async def guard(request: Request) -> Response:
            refusal = self._refusal(request.headers, [])
            return refusal if refusal is not None else await endpoint(request)

        return guard

    # ------------------------------------------------------------------------------ realtime
    async def realtime(self, websocket: WebSocket) -> None:
        """Serve ``/v1/realtime``; an ephemeral key opens a session with the settings that it was made for."""
        protocols = list(websocket.scope.get("subprotocols", ()))
        secret = session_of(self._key(websocket.headers, protocols))
        refusal = self._refusal(websocket.headers, protocols) if secret is None else None
        refusal = refusal or self._not_here(websocket, secret or {})
        if refusal is not None:
            await websocket.send_denial_response(refusal)
            return
        await websocket.accept("realtime" if "realtime" in protocols else None)
        await serve(websocket, self._engines, secret, self._admits)

    def _not_here(self, websocket: WebSocket, secret: dict[str, Any]) -> JSONResponse | None:
        """The refusal of a session that other services are for, or of a model that a strict twin has not."""
        query = websocket.query_params
        transcribes = "transcription" in (query.get("intent"), secret.get("type"))
        if not (self.converses or (transcribes and "stt" in self.services)):
            return error_response(404, "This server has no such sessions.", code="unknown_url")
        model = secret.get("model") or query.get("model")
        if model:
            try:
                self.catalogue.check(model, *_KINDS["transcription" if transcribes else "realtime"])
            except BadRequest as error:
                return error_response(error.status, str(error), code=error.code, param=error.param)
        return None

    def _admits(self, kind: Kind, name: str) -> None:
        where = {"realtime": "session.model", "transcription": "session.audio.input.transcription.model"}
        try:
            self.catalogue.check(name, *_KINDS[kind])
        except BadRequest as error:
            raise Rejected(str(error), code=error.code, param=where[kind]) from None

    async def secret(self, request: Request) -> Response:
        """Serve ``POST /v1/realtime/client_secrets``."""
        body = await json_body(request)
        kind = object_of(body, "session").get("type", "realtime")
        if kind != "transcription" and not self.converses:
            text = "This server has transcription sessions only."
            raise BadRequest(text, "session.type", "invalid_value")
        try:
            made = client_secret(body, self._admits)
        except Rejected as error:
            raise BadRequest(str(error), error.param, error.code) from None
        return JSONResponse(made, headers={"x-request-id": identifier("req")})

    # ------------------------------------------------------------------------------ models, health
    async def models(self, _: Request) -> Response:
        """Serve ``/v1/models``."""
        return JSONResponse(self.catalogue.listed())

    async def model(self, request: Request) -> Response:
        """Serve ``/v1/models/{model}``."""
        return JSONResponse(self.catalogue.one(request.path_params["model"]))

    async def health(self, _: Request) -> Response:
        """Serve ``/health``, to anybody: which services are there."""
        return JSONResponse({"status": "ok", "services": self.services, "realtime": self.converses})


def create_twin(
    engines: Engines, api_key: str | None = None, faults: "FaultPlan | None" = None, *,
    fault_header: bool | None = None, strict_models: bool = False, only: Collection[str] | None = None,
) -> Starlette:  # fmt: skip
    """Return the application; the engines start and end with it.

    `faults`: what goes wrong. `fault_header`: clients may bring faults of their own; as a rule if there is a plan.
    `strict_models`: names of models that are none are refused. `only`: some of ``stt``, ``llm`` and ``tts``; all if
    not given. Raises `ValueError` for another one.
    """
    twin = Twin(engines, api_key, chosen_services(only), strict=strict_models)
    app = _application(engines, twin)
    if faults is not None or fault_header:
        from voiceagent.twin.faults import FaultPlan
        from voiceagent.twin.faulty import FaultMiddleware

        header = fault_header is None or fault_header
        app.add_middleware(FaultMiddleware, plan=faults or FaultPlan(), header=header)
    return app


def _routes(engines: Engines, twin: Twin) -> list[BaseRoute]:
    cache, guarded, catalogue = PromptCache(), twin.guarded, twin.catalogue
    routes: list[BaseRoute] = [
        Route("/health", twin.health),
        Route("/v1/models", guarded(twin.models)),
        Route("/v1/models/{model:path}", guarded(twin.model)),
    ]

    def post(path: str, endpoint: Endpoint) -> None:
        routes.append(Route(path, guarded(endpoint), methods=["POST"]))

    if "stt" in twin.services:
        post("/v1/audio/transcriptions", Transcriptions(engines, catalogue))
        post("/v1/realtime/client_secrets", twin.secret)
        routes.append(WebSocketRoute("/v1/realtime", twin.realtime))
    if "llm" in twin.services:
        post("/v1/chat/completions", Chat(engines, catalogue, cache))
        post("/v1/responses", ResponsesApi(engines, catalogue, cache))
    if "tts" in twin.services:
        post("/v1/audio/speech", Speech(engines, catalogue))
    return [*routes, WebSocketRoute("/{path:path}", _nowhere_ws)]


def _application(engines: Engines, twin: Twin) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await engines.start()
        try:
            yield
        finally:
            await engines.aclose()

    return Starlette(
        routes=_routes(engines, twin),
        exception_handlers={
            BadRequest: _bad_request, EngineError: _engine_error, ClientGone: _client_gone,
            404: _nowhere, 405: _not_so, 500: _broken,
        },
        lifespan=lifespan,
    )  # fmt: skip


async def _nowhere_ws(websocket: WebSocket) -> None:
    await websocket.send_denial_response(error_response(404, "Unknown URL.", code="unknown_url"))


async def _bad_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, BadRequest)  # noqa: S101 - by its registration
    return error_response(error.status, str(error), param=error.param, code=error.code)


async def _engine_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, EngineError)  # noqa: S101 - by its registration
    return error_response(error.status, error.message, code=error.code)


async def _client_gone(_: Request, __: Exception) -> Response:
    return Response(status_code=499)


async def _nowhere(request: Request, _: Exception) -> Response:
    where = f"{request.method} {request.url.path[:100]}"
    return error_response(404, f"Unknown request URL: {where}.", code="unknown_url")


async def _not_so(request: Request, _: Exception) -> Response:
    text = f"Not allowed to {request.method} on {request.url.path[:100]}."
    return error_response(405, text, code="method_not_supported")


async def _broken(_: Request, __: Exception) -> Response:
    return error_response(500, "The server had an error while processing your request.", code="server_error")
