"""What the exceptions of the SDK and of its libraries mean: one sentence that names the stage, the host and the cause.

The sentences are made here from statuses, codes and types alone: what an exception says of itself may hold a key.
"""

import datetime as dt
import errno
import json
import socket
import ssl
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from voiceagent.events import Stage
from voiceagent.models import capabilities
from voiceagent.stages.codes import CODES, Verdict, code_of, verdict
from voiceagent.stages.ports import StageError

NAMES: dict[Stage, str] = {
    "stt": "Speech to text",
    "llm": "The language model",
    "tts": "Text to speech",
    "realtime": "The voice model",
}
QUOTA = frozenset({"insufficient_quota", "billing_hard_limit_reached", "account_deactivated"})
NO_MODEL = frozenset({"model_not_found", "invalid_model", "DeploymentNotFound", "missing_model"})
NO_WEBSOCKET = frozenset({200, 404, 405, 426, 501})
"""How a server that knows no Realtime answers its handshake."""
_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


def explain(stage: Stage, host: str, error: BaseException, model: str = "") -> StageError:
    """Return the failure of `stage` at `host`, asked for `model`, that the exception means."""
    if isinstance(error, StageError):
        return error
    if isinstance(error, BaseExceptionGroup):  # the tasks of one connection: what ended the first ended them all
        return explain(stage, host, error.exceptions[0], model)
    chain = tuple(_chain(error))
    who = f"{NAMES[stage]} at {host}"
    for reading in (_wrong_answer, _at_the_proxy, _refused, _late, _unreachable, _handshake, _broken_off, _told):
        for found in chain:
            failure = reading(stage, who, model, found)
            if failure is not None:
                return failure
    return StageError(stage, "error", f"{who} failed ({type(error).__name__}).", retryable=True)


def by_proxy(failure: StageError) -> StageError:
    """Return the failure of a host that is reached by a proxy: what is not there may be either of the two."""
    said, plain = failure.message, " cannot be reached: "
    if plain not in said or "the proxy" in said:
        return failure
    sentence = said.replace(plain, " cannot be reached by way of the proxy: ", 1)
    return StageError(failure.stage, failure.code, sentence, retryable=failure.retryable)


def unknown_model(stage: Stage, host: str, model: str, code: str, status: int | None = None) -> StageError:
    """Return the failure of a server that does not have the model, by whatever name it says so."""
    name = f'the model "{model[:80]}"' if model else "the model"
    detail = f" ({status})" if status else ""
    return StageError(stage, code, f"{NAMES[stage]} at {host} does not know {name}{detail}.", retryable=False)


def not_openai(stage: Stage, host: str, what: str) -> StageError:
    """Return the failure of a host where something else than the API answers, with `what`."""
    sentence = f"{NAMES[stage]} at {host} answers with {what}, not with the API: check the base URL."
    return StageError(stage, "not_openai", sentence, retryable=False)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long a server wants us to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as a date."""
    for name, unit in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            wait_s = float(headers.get(name, "")) / unit
        except ValueError:
            continue
        return wait_s if 0 <= wait_s < float("inf") else None
    try:
        until = parsedate_to_datetime(headers["retry-after"])
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else dt.datetime.now(dt.UTC)
        return max(0.0, (until - now).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None


def _host(who: str) -> str:
    return who.rpartition(" at ")[2]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, those it holds, and those it came from, the outermost first; an earlier failure is another story."""
    seen: set[int] = set()
    waiting = [error]
    while waiting and len(seen) < 50:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting += one.exceptions
        # The context too where it is said to be none: the pool raises everything anew, "from None".
        causes = (one.__cause__, one.__context__)
        waiting += [cause for cause in causes if cause is not None and not isinstance(cause, StageError)]


# ------------------------------------------------------------------------------------------ something else answers
def _wrong_answer(stage: Stage, who: str, model: str, error: BaseException) -> StageError | None:
    del model
    from voiceagent.stages.connections import WrongAnswerError

    if isinstance(error, WrongAnswerError):
        return not_openai(stage, _host(who), error.what)
    return None


# ------------------------------------------------------------------------------------------ the server refuses
def _refused(stage: Stage, who: str, model: str, error: BaseException) -> StageError | None:
    response: Any = getattr(error, "response", None)  # of the SDK, and of the WebSocket library's refused handshake
    status = getattr(response, "status_code", None)
    if not isinstance(status, int):
        return None
    headers: Mapping[str, str] = response.headers
    in_handshake = not hasattr(error, "body")
    if in_handshake and headers.get("content-type", "").startswith("text/html") and status < 500:
        return not_openai(stage, _host(who), "a web page")
    if not in_handshake and status < 400:
        return _unreadable(stage, who)
    code, param = _told_in(response.body) if in_handshake else _told_by(error)
    if in_handshake and status in NO_WEBSOCKET and code not in NO_MODEL:
        sentence = (
            f"{who} has no Realtime WebSocket at this address ({status}): check the base URL{_other_way(stage, model)}."
        )
        return StageError(stage, f"http_{status}", sentence, retryable=False)
    if in_handshake and status in {401, 403}:
        code = ""
    if code in NO_MODEL or (status in {400, 404, 422} and param == "model" and code != "missing_required_parameter"):
        return unknown_model(stage, _host(who), model, code or "model_not_found", status)
    return _refusal(stage, who, status, code, headers)


def _other_way(stage: Stage, model: str) -> str:
    """What else to set where a server without Realtime is the right one."""
    if stage == "stt" and model and not capabilities(model, "stt").http:
        return ", or set stt_model to one that takes files"
    return ", or set tts_api to speech and tts_model to a model of its own" if stage == "tts" else ""


def _refusal(stage: Stage, who: str, status: int, code: str, headers: Mapping[str, str]) -> StageError:
    sentences = {
        401: "refused the key",
        403: "refused access",
        404: "does not know the address",
        429: "is out of quota" if code in QUOTA else "asks for fewer requests",
    }
    sentence = sentences.get(status, "failed" if status >= 500 else "refused the request")
    retryable = (status >= 500 or status in {408, 409, 429}) and verdict(code) is not Verdict.FATAL
    if (wish := headers.get("x-should-retry")) in {"true", "false"}:
        retryable = wish == "true"
    detail = f"{status}, {code}" if code and status not in {401, 429} else str(status)
    hint = ": check the base URL" if status == HTTPStatus.NOT_FOUND else ""
    return StageError(
        stage, code or f"http_{status}", f"{who} {sentence} ({detail}){hint}.",
        retryable=retryable, retry_after_s=retry_after_s(headers),
    )  # fmt: skip


def _told_by(error: BaseException) -> tuple[str, str]:
    return code_of(getattr(error, "code", None)), str(getattr(error, "param", None) or "")


def _told_in(body: Any) -> tuple[str, str]:
    """Code and parameter in the body of a refused handshake."""
    try:
        error = json.loads(body or b"")["error"]
        return code_of(error.get("code")), str(error.get("param") or "")
    except (ValueError, TypeError, KeyError, AttributeError):
        return "", ""


# ------------------------------------------------------------------------------------------ there is no way to it
def _late(stage: Stage, who: str, model: str, error: BaseException) -> StageError | None:
    del model
    import httpx2
    import openai

    if isinstance(error, TimeoutError | openai.APITimeoutError | httpx2.TimeoutException):
        return StageError(stage, "timeout", f"{who} did not answer in time.", retryable=True)
    return None


def _unreachable(stage: Stage, who: str, model: str, error: BaseException) -> StageError | None:
    del model
    match error:
        case socket.gaierror():
            cause = "no such name is known"
        case ConnectionRefusedError():
            cause = "nothing listens there"
        case ssl.SSLCertVerificationError():
            cause = f"its certificate is not trusted ({error.verify_message})"
        case ssl.SSLError():
            cause = "TLS fails: see whether it is http:// or https://"
        case OSError(errno=number) if number in _NO_WAY:
            cause = "there is no way to it"
        case ImportError():
            cause = "its proxy needs a package that is not installed"
        case _:
            return None
    return StageError(stage, "connection", f"{who} cannot be reached: {cause}.", retryable=True)


def _at_the_proxy(stage: Stage, who: str, model: str, error: BaseException) -> StageError | None:
    del model
    import httpx2
    from websockets.exceptions import ProxyError

    if isinstance(error, ProxyError | httpx2.ProxyError):
        sentence = f"{who} cannot be reached: the proxy refuses, or does not answer."
        return StageError(stage, "connection", sentence, retryable=True)
    return None


def _handshake(stage: Stage, who: str, model: str, error: BaseException) -> StageError | None:
    """What went wrong between us and a server that was reached, or on the way to it."""
    del model
    import httpx2
    from websockets.exceptions import InvalidHandshake, InvalidMessage, SecurityError

    if isinstance(error, InvalidMessage) and isinstance(
        error.__cause__, EOFError | OSError
    ):  # it gave no answer at all
        sentence = f"{who} cannot be reached: it closed the connection without an answer."
        return StageError(stage, "connection", sentence, retryable=True)
    if isinstance(error, SecurityError | httpx2.TooManyRedirects):
        return not_openai(stage, _host(who), "the address of another server")
    if isinstance(error, InvalidHandshake):
        return not_openai(stage, _host(who), "something else than a WebSocket")
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL | httpx2.LocalProtocolError):
        sentence = f"{who} cannot be asked: check the base URL and the key."
        return StageError(stage, "connection", sentence, retryable=False)
    return None


# ------------------------------------------------------------------------------------------ the answer is cut or wrong
def _broken_off(stage: Stage, who: str, model: str, error: BaseException) -> StageError | None:
    del model
    import httpx2
    from websockets.exceptions import ConnectionClosed

    if isinstance(error, ConnectionClosed):
        return _closed(stage, who, error)
    cut = (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError, httpx2.CloseError)
    if isinstance(error, (*cut, ConnectionResetError, BrokenPipeError, EOFError)):
        return StageError(stage, "broken_off", f"{who} broke off its answer.", retryable=True)
    return None


def _closed(stage: Stage, who: str, error: Any) -> StageError:
    """A closed WebSocket; the service puts its code at the end of the reason."""
    received = error.rcvd
    if received is None:
        return StageError(stage, "broken_off", f"{who} broke off the connection.", retryable=True)
    code = code_of(received.reason.rpartition(".")[2])
    known = code if code in CODES else f"closed_{received.code}"
    detail = f"{received.code}, {code}" if code in CODES else str(received.code)
    retryable = verdict(known) is not Verdict.FATAL
    return StageError(stage, known, f"{who} closed the connection ({detail}).", retryable=retryable)


def _told(stage: Stage, who: str, model: str, error: BaseException) -> StageError | None:
    """An error in mid-stream, or an answer that says nothing."""
    import httpx2
    import openai

    if isinstance(error, openai.APIConnectionError | httpx2.NetworkError):
        return StageError(stage, "connection", f"{who} cannot be reached.", retryable=True)
    unreadable = (ValueError, LookupError, TypeError, AttributeError)  # in reading what is no answer of the API's shape
    if isinstance(error, (openai.APIResponseValidationError, httpx2.DecodingError, *unreadable)):
        return _unreadable(stage, who)
    if isinstance(error, openai.APIError):
        code, _ = _told_by(error)
        if code in NO_MODEL:
            return unknown_model(stage, _host(who), model, code)
        sentence = f"{who} broke off its answer with an error{f' ({code})' if code else ''}."
        return StageError(stage, code or "error", sentence, retryable=verdict(code) is not Verdict.FATAL)
    if isinstance(error, OSError):
        return StageError(stage, "connection", f"{who} cannot be reached.", retryable=True)
    return None


def _unreadable(stage: Stage, who: str) -> StageError:
    return StageError(stage, "unreadable", f"{who} sent an answer that cannot be read.", retryable=True)


def only(error: BaseException) -> BaseException:
    """Return the exception itself, out of the groups that task groups wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
