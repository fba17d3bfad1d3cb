"""Ephemeral keys: made for one session's settings, good until they expire."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from voiceagent.twin.configs import Admits, Rejected, SessionConfig
from voiceagent.twin.errors import identifier

USUAL_S, LEAST_S, MOST_S = 600, 10, 7200
MAX_SECRETS = 1_000
_issued: OrderedDict[str, tuple[int, dict[str, Any]]] = OrderedDict()  # the oldest first: when it ends, the session


def client_secret(body: Mapping[str, Any], admits: Admits = lambda *_: None) -> dict[str, Any]:
    """Return the answer to ``POST /v1/realtime/client_secrets``: ``value`` (``ek_…``), ``expires_at``, ``session``.

    Raises `Rejected` with the parameter that is wrong.
    """
    expiry = body.get("expires_after")
    expiry = {} if expiry is None else expiry
    if not isinstance(expiry, dict) or expiry.get("anchor", "created_at") != "created_at":
        raise Rejected("Invalid 'expires_after.anchor': expected 'created_at'.", param="expires_after.anchor")
    seconds = expiry.get("seconds", USUAL_S)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not LEAST_S <= seconds <= MOST_S:
        text = f"Invalid 'expires_after.seconds': expected an integer from {LEAST_S} to {MOST_S}."
        raise Rejected(text, param="expires_after.seconds")
    session = body.get("session")
    session = {"type": "realtime"} if session is None else session
    if not isinstance(session, dict) or session.get("type") not in ("realtime", "transcription"):
        raise Rejected("Invalid 'session.type': expected 'realtime' or 'transcription'.", param="session.type")
    config = SessionConfig(session["type"], admits=admits)
    config.update(session)
    expires_at = int(time.time()) + seconds
    value = f"ek_{secrets.token_hex(16)}"
    _issued[value] = (expires_at, dict(session))
    while len(_issued) > MAX_SECRETS:
        _issued.popitem(last=False)
    shape = {"id": identifier("sess"), **config.shape(), "expires_at": 0 if session["type"] == "realtime" else None}
    return {"value": value, "expires_at": expires_at, "session": shape}


def session_of(key: str) -> dict[str, Any] | None:
    """Return the session settings that a key was made for; None if it is no ephemeral key, or has expired."""
    expires_at, session = _issued.get(key, (0, {}))
    return session if expires_at > time.time() else None
