"""What the service's error codes mean for us: go on, try again, or give up."""

from enum import StrEnum


class Verdict(StrEnum):
    """What to do about an error."""

    BENIGN = "benign"  # nothing is wrong: go on
    RETRY = "retry"  # another request or connection may do better
    FATAL = "fatal"  # it would end the same way again


CODES: dict[str, Verdict] = {
    # -- nothing is wrong
    "input_audio_buffer_commit_empty": Verdict.BENIGN,  # there was nothing to transcribe, and that is an answer
    "response_cancel_not_active": Verdict.BENIGN,  # it had ended before the cancel came
    "item_not_found": Verdict.BENIGN,  # deleted twice, or cut before it was there
    # -- once more
    "session_expired": Verdict.RETRY,
    "rate_limit_exceeded": Verdict.RETRY,
    "server_error": Verdict.RETRY,
    "internal_error": Verdict.RETRY,
    "timeout": Verdict.RETRY,
    "conversation_already_has_active_response": Verdict.RETRY,
    # -- never again
    "invalid_api_key": Verdict.FATAL,
    "insufficient_quota": Verdict.FATAL,
    "account_deactivated": Verdict.FATAL,
    "billing_hard_limit_reached": Verdict.FATAL,
    "model_not_found": Verdict.FATAL,
    "missing_model": Verdict.FATAL,
    "invalid_model": Verdict.FATAL,
    "invalid_value": Verdict.FATAL,
    "unknown_parameter": Verdict.FATAL,
    "missing_required_parameter": Verdict.FATAL,
    "beta_api_shape_disabled": Verdict.FATAL,
    "not_openai": Verdict.FATAL,  # our own: something else answers at the address
    "content_filter": Verdict.FATAL,
    "max_output_tokens": Verdict.FATAL,
    "http_400": Verdict.FATAL,
    "http_401": Verdict.FATAL,
    "http_403": Verdict.FATAL,
    "http_404": Verdict.FATAL,
}


def verdict(code: str) -> Verdict:
    """Return what a code means; one that is not known here may be over the next time."""
    return CODES.get(code, Verdict.RETRY)
