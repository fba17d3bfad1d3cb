"""The middleware that applies a fault plan in front of an application, and the endpoint by which a plan is changed."""

import contextlib
import json
from collections.abc import MutableMapping
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, Response

from voiceagent.twin.errors import error_response
from voiceagent.twin.fault_events import error_event
from voiceagent.twin.fault_exchange import App, HttpExchange, Inbox, Receive, Send, SocketExchange
from voiceagent.twin.fault_rules import Delay, Drop, Html, Refuse, Stall
from voiceagent.twin.faults import MAX_TEXT_CHARS, Armed, BadFaults, FaultPlan

HEADER = b"x-voiceagent-faults"
PARAMETER = "faults"
STAGES = {
    "/v1/chat/completions": "llm", "/v1/responses": "llm", "/v1/audio/speech": "tts", "/v1/audio/transcriptions": "stt",
}  # fmt: skip
USUAL = {
    400: (None, "The request is invalid."),
    401: ("invalid_api_key", "Incorrect API key provided."),
    403: ("unsupported_country_region_territory", "Country, region, or territory not supported."),
    404: ("model_not_found", "The model does not exist or you do not have access to it."),
    429: ("rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", "The server had an error while processing your request."),
    503: ("server_error", "The engine is currently overloaded, please try again later."),
}


def stage_of(scope: MutableMapping[str, Any]) -> str | None:
    """Return the stage that a request or connection is of; Realtime sessions are speech-to-text or `realtime`."""
    path = scope["path"]
    if scope["type"] == "websocket" and path == "/v1/realtime":
        query = parse_qs(scope["query_string"].decode("latin-1"))
        return "stt" if query.get("intent") == ["transcription"] else "realtime"
    return STAGES.get(path)


class FaultMiddleware:
    """An ASGI application around another. Requests that no rule strikes pass as if it were not there.

    ``GET /faults`` tells the plan and what it has done, ``POST`` replaces it, ``DELETE`` clears it.
    """

    def __init__(self, app: App, plan: FaultPlan, *, header: bool = True) -> None:
        """`header`: clients may bring rules of their own."""
        self._app = app
        self._plan = plan
        self._header = header

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve a request, a WebSocket or the lifespan."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/faults":
            response = await self._control(scope["method"], receive)
            await response(scope, receive, send)
        else:
            try:
                armed = self._plan.strikes(stage_of(scope), scope["path"], self._brought(scope))
            except BadFaults as error:
                await _bad(scope, receive, send, str(error))
                return
            if armed:
                await self._under(armed, scope, receive, send)
            else:
                await self._app(scope, receive, send)

    def _brought(self, scope: MutableMapping[str, Any]) -> str | None:
        if not self._header:
            return None
        for name, value in scope["headers"]:
            if name.lower() == HEADER:
                return str(value.decode("utf-8", "replace"))
        if scope["type"] == "websocket":
            brought: list[str] = parse_qs(scope["query_string"].decode("latin-1")).get(PARAMETER, [])
            return brought[0] if brought else None
        return None

    async def _under(
        self, armed: list[Armed], scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:  # fmt: skip
        """Serve under faults: first those that come before any answer, in the plan's order."""
        inbox = Inbox(receive)
        for one in armed:
            rule = one.rule
            if isinstance(rule, Delay) and not rule.of_events:
                by_ms = rule.delay_ms + one.dice.uniform(0, rule.jitter_ms)
                one.done_to({"ms": round(by_ms, 3)})
                there = await inbox.stays(by_ms / 1000)
            elif isinstance(rule, Stall) and rule.at_once and rule.direction == "down":
                one.done = True
                one.done_to()
                there = await inbox.stays(None if rule.for_ms is None else rule.for_ms / 1000)
            elif isinstance(rule, Drop) and rule.at_once and rule.direction == "down":
                one.done_to()
                inbox.hang_up(reset=rule.reset)
                await inbox.until_gone()
                there = False
            elif isinstance(rule, Refuse | Html):
                one.done_to({"status": rule.status})
                await _answer(refusal(rule) if isinstance(rule, Refuse) else page(rule), scope, receive, send)
                return
            else:
                continue
            if not there:
                return
        exchange = HttpExchange if scope["type"] == "http" else SocketExchange
        await exchange(self._app, scope, inbox, send, armed).run()

    async def _control(self, method: str, receive: Receive) -> Response:
        if method in {"POST", "PUT"}:
            try:
                self._plan.replace(json.loads(await _whole(receive)))
            except BadFaults as error:
                return error_response(400, f"The fault plan cannot be used: {error}.", code="invalid_faults")
            except (ValueError, RecursionError):
                return error_response(400, "The fault plan is no JSON.", code="invalid_faults")
        elif method == "DELETE":
            self._plan.replace([])
        elif method not in {"GET", "HEAD"}:
            return error_response(405, "The fault plan takes GET, POST and DELETE.", code="method_not_allowed")
        return JSONResponse(self._plan.shown())


def refusal(rule: Refuse) -> Response:
    """Return the error that a rule says, in OpenAI's shape."""
    code, message = USUAL.get(rule.status, USUAL[500] if rule.status >= 500 else USUAL[400])
    response = error_response(rule.status, rule.message or message, code=rule.code or code)
    if rule.retry_after_s is not None:
        response.headers["retry-after"] = f"{rule.retry_after_s:g}"
    if rule.retry_after_ms is not None:
        response.headers["retry-after-ms"] = f"{rule.retry_after_ms:g}"
    if rule.should_retry is not None:
        response.headers["x-should-retry"] = "true" if rule.should_retry else "false"
    return response


def page(rule: Html) -> Response:
    """Return the page that a rule says."""
    return Response(rule.body, rule.status, media_type="text/html")


async def _answer(response: Response, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Answer a request, or the request for a WebSocket before it is one."""
    if scope["type"] == "http":
        await response(scope, receive, send)
        return
    start = {"type": "websocket.http.response.start", "status": response.status_code, "headers": response.raw_headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": bytes(response.body), "more_body": False})


async def _bad(scope: MutableMapping[str, Any], receive: Receive, send: Send, why: str) -> None:
    text = f"The fault plan of this request cannot be used: {why}."
    if scope["type"] == "http":
        await error_response(400, text, code="invalid_faults", param="x-voiceagent-faults")(scope, receive, send)
        return
    protocols = scope.get("subprotocols", ())
    await send({"type": "websocket.accept", "subprotocol": "realtime" if "realtime" in protocols else None})
    with contextlib.suppress(OSError, RuntimeError):
        event = error_event("invalid_request_error", "invalid_faults", text)
        await send({"type": "websocket.send", "text": event})
        await send({"type": "websocket.close", "code": 4000, "reason": "invalid_request_error.invalid_faults"})


async def _whole(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_TEXT_CHARS:
            raise BadFaults("it is too long")
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return bytes(body)
