"""The exports of a running server: what a setting switches on, what comes out, and what never does."""

import asyncio
import os
import socket
import urllib.request
from contextlib import asynccontextmanager

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families

from tests.exported import steps, turn
from tests.running_server import ANSWER, closing, greet, receive, served
from tests.serving import Answer, Recorder
from tests.world import settings_for_tests
from voiceagent import protocol
from voiceagent.exports import wanted
from voiceagent.exports.errors import ExportError
from voiceagent.exports.wanted import Exports
from voiceagent.server import run

KEY, TOKEN, WORDS = "sk-canary", "token-canary", "an unlikely sentence"
REFUSED = Answer({"error": {"message": f"Incorrect API key {KEY}: {WORDS}", "code": "invalid_api_key"}}, status=401)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """No variable of OpenTelemetry's, and no proxy."""
    for name in list(os.environ):
        if name.startswith("OTEL_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@asynccontextmanager
async def exporting(**settings):
    """A server whose metrics are on a free port, and a collector of its traces."""
    async with Recorder(Answer(b"", content_type="application/x-protobuf")) as collector:
        async with served(
            metrics_port=0, otel_endpoint=collector.base_url.removesuffix("/v1"), openai_api_key=KEY,
            access_token=TOKEN, **settings,
        ) as s:  # fmt: skip
            yield s, collector
        assert collector.asked  # at the end the last traces are sent


async def say(s, text):
    """One typed turn, to the end of its record."""
    async with s.connect() as ws:
        await greet(ws, token=TOKEN)
        await ws.send(protocol.Text(text=text).model_dump_json())
        speaker = asyncio.create_task(acknowledge(ws))
        done = await speaker
    async with asyncio.timeout(10):
        while s.app.state.agent.sessions.running:
            await asyncio.sleep(0.01)
    return done


async def acknowledge(ws):
    """Wait for the turn's last word, and say that the reply was heard."""
    end = await receive(ws, (protocol.ReplyEnd, protocol.TurnDone))
    if isinstance(end, protocol.ReplyEnd):
        await ws.send(protocol.HangUp().model_dump_json())
        end = await receive(ws, protocol.TurnDone)
    return end


async def scrape(s):
    """The text of /metrics."""
    port = s.app.state.agent.exports.metrics_port
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def read():
        with opener.open(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return answer.read().decode()

    return await asyncio.to_thread(read)


def samples(text):
    """All samples of a scrape: name and labels to value."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def spans(collector):
    """All spans that came."""
    return [
        span
        for asked in collector.asked
        for group in ExportTraceServiceRequest.FromString(asked.body).resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


async def test_a_conversation_comes_out():
    """The same turn is in the log, in the metrics, and in a trace whose id is the record's; a refusal is counted."""
    async with exporting() as (s, collector):
        async with s.connect() as ws:
            await greet(ws, token="wrong")
            assert (await closing(ws))[1] == 4401
        async with s.connect() as ws:
            await greet(ws, token=TOKEN)
            active = samples(await scrape(s))["voice_sessions_active",]
        await say(s, WORDS)
        found = samples(await scrape(s))
        lines = await s.logged()
    logged = [line for line in lines if line["event"] == "turn"]
    assert active == 1
    assert found["voice_sessions_active",] == 0
    assert found["voice_sessions_capacity",] == 50
    assert found["voice_sessions_rejected_total", ("reason", "token")] == 1
    assert found["voice_response_gap_seconds_count", ("basis", "sent")] == 1
    gap_s = found["voice_response_gap_seconds_sum", ("basis", "sent")]
    assert round(gap_s * 1e6) == round(logged[0]["gap_ms"] * 1e3)
    steps_counted = sum(value for (name, *_), value in found.items() if name == "voice_transitions_total")
    assert steps_counted == len([line for line in lines if line["event"] == "transition"])
    roots = [span for span in spans(collector) if span.name == "turn"]
    assert [root.trace_id.hex() for root in roots] == [line["trace"] for line in logged]


async def test_no_texts_and_no_keys():
    """What is said, what is answered, keys and tokens are in no metric and in no trace."""
    async with exporting() as (s, collector):
        await say(s, WORDS)
        text = await scrape(s)
    sent = b"".join(asked.body for asked in collector.asked)
    for secret in (KEY, TOKEN, WORDS, ANSWER, ANSWER.split(".")[0]):
        assert secret not in text
        assert secret.encode() not in sent


async def test_texts_by_the_setting():
    """With `log_content` the trace has them, under `voice.content` alone."""
    async with exporting(log_content=True) as (s, collector):
        await say(s, WORDS)
    names = {
        attribute.key
        for span in spans(collector)
        for attribute in span.attributes
        if WORDS in attribute.value.string_value or ANSWER in attribute.value.string_value
    }
    assert names <= {"voice.content.user", "voice.content.reply", "voice.content.heard"}
    assert "voice.content.user" in names


async def test_what_a_back_end_says_of_a_key_stays_inside():
    """A back-end that repeats the key in its error is counted and traced by its code alone."""
    async with Recorder(REFUSED) as llm, exporting(llm_base_url=llm.base_url, llm_api_key=KEY) as (s, collector):
        await say(s, WORDS)
        found, text = samples(await scrape(s)), await scrape(s)
    errors = {key[1:]: value for key, value in found.items() if key[0] == "voice_upstream_errors_total"}
    assert errors
    assert {dict(labels)["stage"] for labels in errors} == {"llm"}
    assert KEY not in text
    assert KEY.encode() not in b"".join(asked.body for asked in collector.asked)


def test_a_busy_port(capsys):
    """The server does not start, and says in one sentence why."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert run(settings_for_tests(port=0, metrics_port=port)) == 1
    assert capsys.readouterr().err == (
        f"voiceagent: cannot serve metrics on 127.0.0.1:{port}: Address already in use. "
        "Set another port with metrics_port, or end what uses it.\n"
    )


def test_without_the_extra(monkeypatch, capsys):
    """The setting without the extra ends the start; a variable of the whole machine does not, but it is told."""

    def missing(self):
        raise ExportError("traces need it.")

    monkeypatch.setattr("voiceagent.exports.otel.Tracer.__enter__", missing)
    assert run(settings_for_tests(port=0, otel_endpoint="http://127.0.0.1:1")) == 1
    assert capsys.readouterr().err == "voiceagent: traces need it.\n"
    monkeypatch.setattr(wanted, "installed", lambda: False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    exports = Exports(settings_for_tests())
    assert exports.observers == ()
    assert exports.notes == (
        "Note: OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces need OpenTelemetry: pip install 'voiceagent[otel]'.",
    )


def test_nothing_is_exported_unless_asked_for():
    """By default there is no observer, no port and no thread; open and close do nothing, as often as one likes."""
    exports = Exports(settings_for_tests())
    assert exports.observers == ()
    for _ in range(2):
        exports.open()
    for _ in range(2):
        exports.close()
    assert exports.notes == ()


def test_metrics_are_public_only_by_a_setting():
    """The port is on loopback, and the start says where."""
    exports = Exports(settings_for_tests(metrics_port=0))
    exports.open()
    exports.open()
    try:
        assert exports.notes == (f"Metrics: http://127.0.0.1:{exports.metrics_port}/metrics",)
        for each in (*steps(), turn()):
            (observer,) = exports.observers
            (observer.turn if hasattr(each, "outcome") else observer.transition)("s", each)
    finally:
        exports.close()
