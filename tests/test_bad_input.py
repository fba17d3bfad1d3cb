"""Whatever is wrong with a back-end is one sentence that names the stage, the host and the cause; and never holds a key."""

import asyncio
import datetime as dt
import email.utils
import shutil
import socket
import ssl
import subprocess

import pytest
from websockets.exceptions import InvalidMessage

from tests.serving import Answer, Recorder
from tests.test_clients import HELLO, MODELS, openai_settings
from tests.virtual import virtual_time
from voiceagent.stages.cascade import cascade
from voiceagent.stages.clients import NAMES, Clients
from voiceagent.stages.codes import Verdict, verdict
from voiceagent.stages.explaining import explain, retry_after_s
from voiceagent.stages.ports import StageError
from voiceagent.stages.probing import probe, probe_realtime
from voiceagent.stages.realtime import realtime_session, session_error

CANARY = "sk-canary"
PAGE = b"<!DOCTYPE html><html><body>Welcome to nginx</body></html>"
HTML = "text/html; charset=utf-8"
EVENTS = "text/event-stream"
MID_ERROR = b'data: {"error": {"code": "server_error"}}\n\n'
NOT_THE_API = ", not with the API: check the base URL."
WEB_PAGE = "answers with a web page" + NOT_THE_API


def error(status, code=None, *, param=None, **headers):
    """An error in the service's shape, which repeats the key, as a careless server might."""
    body = {"error": {"message": f"Incorrect API key {CANARY}", "type": "x", "code": code, "param": param}}
    return Answer(body, status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def ask(made, stage):
    """Ask a stage once and take all that it gives."""
    request = made.llm.reply(HELLO, []) if stage == "llm" else made.tts.speak("x")
    async with request as parts:
        return [part async for part in parts]


async def failure_of(stage, answer, **more):
    """What the stage says of a server that answers so, without the stage's name and the host."""
    async with Recorder(answer) as server:
        settings = openai_settings(server.base_url, **more)
        clients = Clients(settings)
        with pytest.raises(StageError) as raised:
            await ask(cascade(clients, settings), stage)
        await clients.aclose()
    start = f"{NAMES[stage]} at 127.0.0.1:{server.port} "
    assert raised.value.message.startswith(start)
    assert CANARY not in raised.value.message
    return raised.value, raised.value.message.removeprefix(start)


# ------------------------------------------------------------------------------------------ the server refuses
@pytest.mark.parametrize("stage", ["llm", "tts"])
@pytest.mark.parametrize(
    ("answer", "sentence", "code", "retryable"),
    [
        (error(401, "invalid_api_key"), "refused the key (401).", "invalid_api_key", False),
        (error(403, "unsupported_country"), "refused access (403, unsupported_country).", "unsupported_country", False),
        (error(404, "model_not_found"), 'does not know the model "no-such" (404).', "model_not_found", False),
        (error(400, None, param="model"), 'does not know the model "no-such" (400).', "model_not_found", False),
        (error(404, "DeploymentNotFound"), 'does not know the model "no-such" (404).', "DeploymentNotFound", False),
        (error(404), "does not know the address (404): check the base URL.", "http_404", False),
        (error(400, "invalid_value", param="x"), "refused the request (400, invalid_value).", "invalid_value", False),
        (error(429, "rate_limit_exceeded"), "asks for fewer requests (429).", "rate_limit_exceeded", True),
        (error(429, "insufficient_quota"), "is out of quota (429).", "insufficient_quota", False),
        (error(429, "billing_hard_limit_reached"), "is out of quota (429).", "billing_hard_limit_reached", False),
        (error(500), "failed (500).", "http_500", True),
        (error(503, "a sentence with sk-canary"), "failed (503).", "http_503", True),
        (error(500, x_should_retry="false"), "failed (500).", "http_500", False),
        (error(400, x_should_retry="true"), "refused the request (400).", "http_400", True),
        (Answer(PAGE, status=502, content_type=HTML), "failed (502).", "http_502", True),
        (Answer(PAGE, content_type=HTML), WEB_PAGE, "not_openai", False),
        (Answer(PAGE, status=404, content_type=HTML), WEB_PAGE, "not_openai", False),
        (Answer(b"\n " + PAGE, content_type="text/plain"), WEB_PAGE, "not_openai", False),
        (None, "broke off its answer.", "broken_off", True),
    ],
)  # fmt: skip
def test_refusals(stage, answer, sentence, code, retryable):
    """A status, a code or a page is one sentence; whether another try may help is known."""

    @virtual_time
    async def run():
        failure, said = await failure_of(stage, lambda _: answer, llm_model="no-such", tts_model="no-such")
        assert (said, failure.code, failure.retryable) == (sentence, code, retryable)

    run()


@pytest.mark.parametrize(
    ("stage", "answer", "sentence"),
    [
        ("llm", Answer({"choices": []}), "answers with one JSON object in place of a stream" + NOT_THE_API),
        ("llm", Answer(b"hello", content_type="text/plain"), "answers with plain text" + NOT_THE_API),
        ("llm", Answer(b"data: {oh\n\n", content_type=EVENTS), "sent an answer that cannot be read."),
        ("llm", Answer(MID_ERROR, content_type=EVENTS), "broke off its answer with an error (server_error)."),
        ("llm", Answer(b"data: {}\n\n", content_type=EVENTS, cut=True), "broke off its answer."),
        ("tts", Answer({"audio": "AAAA"}), "answers with JSON in place of sound" + NOT_THE_API),
        ("tts", Answer(bytes(480), content_type="audio/pcm", cut=True), "broke off its answer."),
    ],
)  # fmt: skip
def test_answers_that_are_none(stage, answer, sentence):
    """What is cut, is no stream, no sound or no JSON is said to be so, wherever in the answer it comes."""

    @virtual_time
    async def run():
        assert (await failure_of(stage, answer))[1] == sentence

    run()


@pytest.mark.parametrize("stage", ["llm", "tts"])
def test_silence_in_mid_answer(stage):
    """A server that falls silent in an answer is late, before its first byte and after it."""

    @virtual_time
    async def run():
        for body in (b"", b"data: {}\n\n" if stage == "llm" else bytes(480)):
            kind = EVENTS if stage == "llm" else "audio/pcm"
            failure, said = await failure_of(stage, Answer(body, content_type=kind, stays=True), stall_timeout_s=2)
            assert (said, failure.code, failure.retryable) == ("did not answer in time.", "timeout", True)

    run()


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7"}, 7.0), ({"retry-after": "0.5"}, 0.5), ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 25 Nov 2026 10:00:30 GMT", "date": "Wed, 25 Nov 2026 10:00:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 25 Nov 2026 09:00:30 GMT", "date": "Wed, 25 Nov 2026 10:00:00 GMT"}, 0.0),
        ({}, None), ({"retry-after": "soon"}, None), ({"retry-after": "-3"}, None), ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None), ({"retry-after-ms": "x", "retry-after": "2"}, 2.0),
    ],
)  # fmt: skip
def test_when_to_come_again(headers, wait_s):
    """The server's wish, in either unit or as a date; nonsense is none."""
    assert retry_after_s(headers) == wait_s


def test_when_to_come_again_by_our_clock():
    """A date without the server's own time is reckoned from ours."""
    until = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    assert 3_000 < retry_after_s({"retry-after": email.utils.format_datetime(until, usegmt=True)}) <= 3_600


@virtual_time
async def test_the_wish_comes_with_the_failure():
    """What a busy server asks for is in the failure."""
    failure, _ = await failure_of("llm", error(429, "rate_limit_exceeded", retry_after="3"))
    assert (failure.retryable, failure.retry_after_s) == (True, 3.0)


# ------------------------------------------------------------------------------------------ there is no way to it
def test_names_that_are_not_known():
    """A host without an address is said to have none."""
    failure = explain("stt", "nowhere.invalid", socket.gaierror(-2, "Name or service not known"))
    assert failure.message == "Speech to text at nowhere.invalid cannot be reached: no such name is known."
    assert failure.retryable


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that nobody has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "cert.pem", folder / "key.pem"


@pytest.mark.parametrize("trusted", [False, True])
def test_certificates(certificate, monkeypatch, trusted):
    """A certificate that nobody trusts is named, over HTTP and for WebSockets; SSL_CERT_FILE makes it trusted for both."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))

    async def run():
        async with Recorder(error(401, "invalid_api_key"), ssl=context) as server:
            settings = openai_settings(server.base_url)
            clients = Clients(settings)
            with pytest.raises(StageError) as http:
                await ask(cascade(clients, settings), "llm")
            with pytest.raises(Exception, match=".") as websocket:
                async with realtime_session(clients, "llm", {}, query={"model": "m"}):
                    pass
            await clients.aclose()
        return http.value.message, clients.explain("llm", websocket.value).message, server.port

    *said, port = asyncio.run(run())
    if trusted:
        assert said == [f"The language model at 127.0.0.1:{port} refused the key (401)."] * 2
    else:
        for sentence in said:
            assert sentence.startswith(
                f"The language model at 127.0.0.1:{port} cannot be reached: its certificate is not trusted (self"
            )


@virtual_time
async def test_tls_where_there_is_none():
    """https:// to a server that speaks plain HTTP is said to be that."""
    async with Recorder(Answer(MODELS)) as server:
        clients = Clients(openai_settings(server.base_url.replace("http", "https")))
        failure = (await probe(clients, "llm")).failure
        await clients.aclose()
    assert failure.message == (
        f"The language model at 127.0.0.1:{server.port} cannot be reached: TLS fails: see whether it is http:// or https://."
    )


# ------------------------------------------------------------------------------------------ Realtime
@pytest.mark.parametrize(
    ("answer", "sentence", "code"),
    [
        (Answer(MODELS), "has no Realtime WebSocket at this address (200): check the base URL.", "http_200"),
        (error(404), "has no Realtime WebSocket at this address (404): check the base URL.", "http_404"),
        (error(426), "has no Realtime WebSocket at this address (426): check the base URL.", "http_426"),
        (error(404, "model_not_found"), 'does not know the model "no-such" (404).', "model_not_found"),
        (Answer(PAGE, content_type=HTML), WEB_PAGE, "not_openai"),
        (error(401, "invalid_api_key"), "refused the key (401).", "http_401"),
        (error(429, "insufficient_quota"), "is out of quota (429).", "insufficient_quota"),
        (error(503), "failed (503).", "http_503"),
        (None, "cannot be reached: it closed the connection without an answer.", "connection"),
    ],
)  # fmt: skip
def test_handshakes(answer, sentence, code):
    """A WebSocket that is refused, or answered by something else, is one sentence too."""

    @virtual_time
    async def run():
        async with Recorder(lambda _: answer) as server:
            clients = Clients(openai_settings(server.base_url, stt_model="no-such"))
            with pytest.raises(Exception, match=".") as raised:
                async with realtime_session(clients, "stt", {}, query={"intent": "transcription"}):
                    pass
            failure = clients.explain("stt", raised.value)
            await clients.aclose()
        assert failure.message == f"Speech to text at 127.0.0.1:{server.port} {sentence}"
        assert failure.code == code

    run()


@pytest.mark.parametrize(
    ("stage", "model", "hint"),
    [
        ("stt", {"stt_model": "gpt-live-transcribe"}, ", or set stt_model to one that takes files"),
        ("stt", {"stt_model": "gpt-transcribe"}, ""),
        ("tts", {}, ", or set tts_api to speech and tts_model to a model of its own"),
        ("realtime", {}, ""),
    ],
)
async def test_what_to_set_where_there_is_no_realtime(stage, model, hint):
    """Where another way of asking the same server would do, its setting is named."""
    async with Recorder(error(404)) as server:
        clients = Clients(openai_settings(server.base_url, **model))
        failure = await probe_realtime(clients, stage)
        await clients.aclose()
    assert failure.message.endswith(f" has no Realtime WebSocket at this address (404): check the base URL{hint}.")


def test_an_answer_that_is_no_http():
    """Whoever answers a handshake with something else will not do better; a connection that ends without a word may."""
    for cause, code, retryable in ((ValueError("x"), "not_openai", False), (EOFError("x"), "connection", True)):
        odd = InvalidMessage("did not receive a valid HTTP response")
        odd.__cause__ = cause
        failure = explain("stt", "h", odd)
        assert (failure.code, failure.retryable) == (code, retryable)


def test_a_session_that_is_refused():
    """An error event before the session is confirmed names the model if that is what is wrong."""
    failure = session_error("stt", "h", {"code": "invalid_model", "message": CANARY}, "no-such")
    assert failure.message == 'Speech to text at h does not know the model "no-such".'
    of_model = {"code": "invalid_value", "message": CANARY, "param": "session.audio.input.transcription.model"}
    assert session_error("stt", "h", of_model, "m").message == 'Speech to text at h does not know the model "m".'
    failure = session_error("stt", "h", {"code": "invalid_value", "message": CANARY}, "m")
    assert (failure.message, failure.retryable) == ("Speech to text at h refused the session (invalid_value).", False)


def test_codes_are_judged_in_one_place():
    """What explaining makes of a code is what the table says."""
    for code in ("http_404", "not_openai", "model_not_found", "http_401", "insufficient_quota"):
        assert verdict(code) is Verdict.FATAL
    for code in ("http_503", "broken_off", "timeout", "connection", "unreadable"):
        assert verdict(code) is Verdict.RETRY
