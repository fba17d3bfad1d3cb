"""OpenAI's shape of an error."""

import secrets
from typing import Any

from starlette.responses import JSONResponse


def identifier(prefix: str) -> str:
    """Return a new id such as ``item_5f0c…``."""
    return f"{prefix}_{secrets.token_hex(11)[:21]}"


def error_body(message: str, *, kind: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """Return the body of an error response."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(status: int, message: str, *, code: str | None = None, param: str | None = None) -> JSONResponse:
    """Return an error response; its type follows from the status."""
    kinds = {401: "invalid_request_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "server_error" if status >= 500 else "invalid_request_error")
    body = error_body(message, kind=kind, code=code, param=param)
    return JSONResponse(body, status, headers={"x-request-id": identifier("req")})
