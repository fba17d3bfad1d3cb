"""A recorded wire log as a server: it answers what the log's servers answered, once what was asked then is asked again.

Sound is silence of the same length, and texts that were not kept are as long as they were.
"""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any, Self

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from voiceagent.twin import TwinServer

APPEND = "input_audio_buffer.append"  # how sound is cut into pieces may differ from run to run


def lines_of(path: Path) -> list[dict[str, Any]]:
    """The lines of one log."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def restored(value: Any) -> Any:
    """An event as it may have been before it was redacted."""
    match value:
        case {"bytes": int(count), **rest} if not rest:
            return base64.b64encode(bytes(count)).decode()
        case {"chars": int(count), **rest} if not rest:
            return "x" * count
        case dict():
            return {key: restored(below) for key, below in value.items()}
        case list():
            return [restored(below) for below in value]
    return value


class Replay:
    """``async with Replay(folder) as server: server.base_url``; each log is played once, in the order of recording."""

    def __init__(self, folder: Path) -> None:
        logs = [lines_of(path) for path in sorted(folder.glob("*.jsonl"))]
        self.sessions = [log for log in logs if log[0]["event"]["kind"] == "realtime"]
        self.requests = [log for log in logs if log[0]["event"]["kind"] == "http"]
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        anything = Route("/v1/{path:path}", self._request, methods=["POST", "GET", "HEAD"])
        routes = [WebSocketRoute("/v1/realtime", self._session), anything]
        twin = await self._stack.enter_async_context(TwinServer(Starlette(routes=routes)))
        self.base_url = twin.base_url
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _session(self, websocket: WebSocket) -> None:
        await websocket.accept()
        query = dict(websocket.query_params)
        log = next(log for log in self.sessions if query.items() <= log[0]["event"].items())
        self.sessions.remove(log)
        with contextlib.suppress(WebSocketDisconnect):
            for line in log:
                if line["way"] == "out" and line["type"] != APPEND:
                    while (event := json.loads(await websocket.receive_text()))["type"] == APPEND:
                        pass
                    assert event["type"] == line["type"]
                elif line["way"] == "in":
                    await websocket.send_text(json.dumps(restored(line["event"])))
            while True:
                await websocket.receive_text()

    async def _request(self, request: Request) -> Response:
        head = {"method": request.method, "path": request.url.path}
        log = next((log for log in self.requests if head.items() <= log[0]["event"].items()), None)
        if log is None:
            return JSONResponse({"error": {"code": "not_recorded"}}, status_code=404)
        self.requests.remove(log)
        answer = next(line["event"] for line in log if line["type"] == "response")
        body = b"".join(_body(line, answer["content_type"]) for line in log if line["way"] == "in")
        return Response(body, status_code=answer["status"], media_type=answer["content_type"])


def _body(line: dict[str, Any], content_type: str) -> bytes:
    match line["type"]:
        case "response":
            return b""
        case "bytes":
            return bytes(line["event"]["bytes"])
        case "done":
            return b"data: [DONE]\n\n"
    data = json.dumps(restored(line["event"])).encode()
    return b"data: " + data + b"\n\n" if content_type == "text/event-stream" else data
