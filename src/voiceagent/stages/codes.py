"""What the service's error codes mean for us: go on, try again, or give up, and why."""

import re
from enum import StrEnum
from typing import Any

_CODE = re.compile(r"(?!(?:sk|ek)_)[A-Za-z][A-Za-z0-9_]{0,60}")  # a key is none


class Verdict(StrEnum):
    """What to do about an error."""

    BENIGN = "benign"  # nothing is wrong: go on
    RETRY = "retry"  # another request or connection may do better
    FATAL = "fatal"  # it would end the same way again


REASONS: dict[Verdict, dict[str, str]] = {
    Verdict.BENIGN: {
        "input_audio_buffer_commit_empty": "there was nothing to transcribe, and that is an answer",
        "response_cancel_not_active": "it had ended before the cancel came",
        "item_not_found": "deleted twice, or cut before it was there",
    },
    Verdict.RETRY: {
        "session_expired": "the service ends a session after an hour",
        "rate_limit_exceeded": "fewer requests are asked for, and later ones may pass",
        "server_error": "the server's own trouble",
        "internal_error": "the server's own trouble",
        "timeout": "our own: nothing came in time",
        "connection": "our own: the host was not reached, or not for long enough",
        "broken_off": "our own: the connection was lost",
        "conversation_already_has_active_response": "the answer before it is not over yet",
        "append_refused": "our own: a new session gets what was said from its beginning",
        "input_audio_buffer_full": "a new session begins with an empty buffer",
    },
    Verdict.FATAL: {
        "invalid_api_key": "the key is wrong",
        "insufficient_quota": "the account has nothing left",
        "account_deactivated": "the account is closed",
        "billing_hard_limit_reached": "the account has reached its limit",
        "model_not_found": "the server has no such model",
        "missing_model": "a conversation names its model in its address",
        "invalid_model": "the model is not for sessions of this kind",
        "invalid_session_type": "the server has no sessions of this kind",
        "invalid_value": "a value that the server does not take, such as turn detection with a model that has none",
        "unsupported_value": "a value that the server does not take",
        "unknown_parameter": "a parameter that the server does not take",
        "missing_required_parameter": "a parameter that the server needs",
        "beta_api_shape_disabled": "the shape of the beta is not spoken any more",
        "not_openai": "our own: something else answers at the address",
        "content_filter": "what was to be said is not said",
        "max_output_tokens": "the answer has reached its length",
        "http_400": "the request is refused as it is",
        "http_401": "the key is refused",
        "http_403": "access is refused",
        "http_404": "there is nothing at the address",
    },
}
CODES: dict[str, Verdict] = {code: meaning for meaning, reasons in REASONS.items() for code in reasons}

ACCOUNT = frozenset(
    {
        "invalid_api_key", "insufficient_quota", "account_deactivated", "billing_hard_limit_reached", "model_not_found",
        "missing_model", "invalid_model", "beta_api_shape_disabled", "http_401", "http_403", "http_404",
    }
)  # fmt: skip
"""Of the fatal ones those that speak of the account, the model or the address: whatever is asked next ends so too."""


def verdict(code: str) -> Verdict:
    """Return what a code means; one that is not known here may be over the next time."""
    return CODES.get(code, Verdict.RETRY)


def code_of(*told: Any, otherwise: str = "") -> str:
    """Return the first of these names of an error that looks like a code: nothing else that a server says is passed on."""
    return next((code for code in told if isinstance(code, str) and _CODE.fullmatch(code)), otherwise)
