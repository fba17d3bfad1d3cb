"""Traces at a real receiver: what comes over the wire is decoded with OpenTelemetry's own messages."""

import asyncio
import builtins
import os
from dataclasses import replace

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, server_attributes

from tests.exported import MARKS, SECRET, START_US, TRACE, steps, turn
from tests.serving import Answer, Recorder
from voiceagent.exports import genai, otel
from voiceagent.exports.errors import ExportError
from voiceagent.exports.memory import MOST_CLOSED, Memory, Stay
from voiceagent.exports.otel import Tracer
from voiceagent.exports.spans import trace
from voiceagent.exports.wanted import traces_wanted
from voiceagent.recordlines import turn_fields
from voiceagent.timeline import StageFault

OFFSET_NS = 1_700_000_000_000_000_000


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    """No variable of OpenTelemetry's, and no proxy."""
    for name in list(os.environ):
        if name.startswith("OTEL_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def plain(attributes):
    """The attributes of a message as a dictionary."""
    return {each.key: unwrapped(each.value) for each in attributes}


def unwrapped(value):
    """One value of a message."""
    kind = value.WhichOneof("value")
    return [unwrapped(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, kind)


async def received(records, endpoint=True, **environment):
    """Give the records to a tracer with a receiver behind it; return the requests that came, and their spans."""
    async with Recorder(Answer(b"", content_type="application/x-protobuf")) as collector:
        base = collector.base_url.removesuffix("/v1")
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value.format(base=base))
            tracer = Tracer(base if endpoint else None, lambda: OFFSET_NS).__enter__()
            for record in records:
                (tracer.turn if hasattr(record, "outcome") else tracer.transition)("s1", record)
            await asyncio.to_thread(tracer.__exit__, None, None, None)
    requests = [ExportTraceServiceRequest.FromString(asked.body) for asked in collector.asked]
    return collector.asked, [
        (group.resource, scope, span)
        for request in requests
        for group in request.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]


def at(span):
    """The beginning and the end of a span in milliseconds of the records' clock."""
    return (span.start_time_unix_nano - OFFSET_NS) / 1e6, (span.end_time_unix_nano - OFFSET_NS) / 1e6


async def test_one_trace_a_turn():
    """The root is the turn; beneath it are the gap, the stages and the states, at their times to the microsecond."""
    asked, found = await received([*steps()[:6], turn()])
    assert {(each.method, each.target, each.headers["content-type"]) for each in asked} == {
        ("POST", "/v1/traces", "application/x-protobuf")
    }
    spans = {span.name: span for _, _, span in found}
    assert {name: at(span) for name, span in spans.items()} == {
        "turn": (1000, 2500),
        "response_gap": (1200, 1900),
        "speech_to_text ear": (1300, 1520),
        "chat gpt-x": (1521, 1760),
        "text_to_speech mouth": (1761, 1842),
        "playback": (1900, 2400),
        "state listening": (1000, 1064),
        "state transcribing_open": (1064, 1500),
        "state transcribing_ended": (1500, 1520),
        "state thinking": (1520, 1842),
        "state speaking": (1842, 2500),
    }
    root = spans.pop("turn")
    assert root.parent_span_id == b""
    assert {span.parent_span_id for span in spans.values()} == {root.span_id}
    assert {span.trace_id for _, _, span in found} == {root.trace_id}
    resource, scope, _ = found[0]
    assert plain(resource.attributes)["service.name"] == "voiceagent"
    assert (scope.scope.name, scope.schema_url or scope.scope.name) == ("voiceagent", genai.SCHEMA_URL)


async def test_attributes_of_the_root():
    """The turn's figures are on the root, its marks and sounds are moments on it."""
    _, found = await received([turn()])
    root = next(span for _, _, span in found if span.name == "turn")
    attributes = plain(root.attributes)
    expected = {
        "voice.turn": 1, "voice.session": "s1", "gen_ai.conversation.id": "s1", "voice.outcome": "completed",
        "voice.origin": "user", "voice.gap_ms": 700.0, "voice.basis": "heard", "voice.segment_ms.endpoint_wait": 290.0,
        "voice.wait_ms": 300, "voice.wait_reason": "neutral", "voice.speculation.tries": 2, "voice.speculation.hit": True,
        "voice.faults": ["tts:rate_limit"],
    }  # fmt: skip
    assert {name: attributes.get(name) for name in expected} == expected
    moments = [(event.name, (event.time_unix_nano - OFFSET_NS) / 1e6) for event in root.events]
    assert ("endpoint", 1500.0) in moments
    assert [moment for moment in moments if moment[0] == "barge_in"] == [("barge_in", 2000.0), ("barge_in", 2300.0)]
    assert [at_ms for _, at_ms in moments] == sorted(at_ms for _, at_ms in moments)
    assert root.status.code == 0


async def test_the_trace_id_is_the_records():
    """Where the record has a trace id, it is the trace's; a sampler that leaves a trace out sends nothing of it."""
    _, found = await received([turn()])
    assert {span.trace_id.hex() for _, _, span in found} == {TRACE}
    _, found = await received([turn(trace="")])
    assert len({span.trace_id for _, _, span in found}) == 1
    asked, found = await received([turn()], OTEL_TRACES_SAMPLER="always_off")
    assert (asked, found) == ([], [])


def test_names_of_the_convention():
    """A model's span is named after the operation and the model, and says what the convention asks for."""
    fields = turn_fields(turn())
    assert [genai.name(fields, stage) for stage in ("stt", "llm", "tts", "realtime", "playback")] == [
        "speech_to_text ear", "chat gpt-x", "text_to_speech mouth", "chat gpt-x", "playback",
    ]  # fmt: skip
    assert genai.of_stage(fields, "llm", 200.0) == {
        "voice.stage": "llm", "voice.first_answer_ms": 200.0, "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-x", "gen_ai.request.stream": True,
        "server.address": "api.openai.com", "server.port": None, "gen_ai.response.time_to_first_chunk": 0.2,
        "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5, "gen_ai.usage.cache_read.input_tokens": 2,
        "gen_ai.response.finish_reasons": ["stop"], "voice.llm.attempts": 1, "voice.connection.acquire_ms": 1.5,
        "voice.connection.reused": True,
    }  # fmt: skip
    speech = genai.of_stage(fields, "tts", 80.0)
    assert (speech["server.address"], speech["server.port"], speech["gen_ai.output.type"]) == ("[::1]", 80, "speech")
    assert genai.of_stage(fields, "realtime", 1.0)["gen_ai.output.type"] == "speech"


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("api.openai.com", "openai"), ("mine.openai.azure.com", "azure.ai.openai"), ("api.groq.com:443", "groq"),
        ("127.0.0.1:9000", "127.0.0.1"), ("models.example", "models.example"), ("[::1]", "[::1]"),
    ],
)  # fmt: skip
def test_providers(host, name):
    """A provider has the convention's name, or its host's."""
    assert genai.provider(host) == name


def test_the_convention_knows_our_names():
    """Each name of `gen_ai.*` that is sent is in the package of the convention's pinned release."""
    known = {
        value
        for name, value in vars(gen_ai_attributes).items()
        if name.startswith("GEN_AI_") and isinstance(value, str)
    }
    fields = turn_fields(turn())
    sent = set(genai.of_session("s"))
    for stage in ("stt", "llm", "tts", "realtime"):
        sent |= set(genai.of_stage(fields, stage, 1.0))
    assert {name for name in sent if name.startswith("gen_ai.")} - known == set()
    assert {name for name in sent if not name.startswith(("gen_ai.", "voice."))} == {
        server_attributes.SERVER_ADDRESS, server_attributes.SERVER_PORT,
    }  # fmt: skip
    providers = {each.value for each in gen_ai_attributes.GenAiProviderNameValues}
    assert {*genai.PROVIDERS.values(), "azure.ai.openai"} <= providers


async def test_a_failed_turn():
    """The root and the stage that is to blame are errors with the code."""
    failed = turn(outcome="failed", faults=(StageFault("tts", "rate_limit", recovered=False),))
    _, found = await received([failed])
    bad = {span.name: (span.status.code, span.status.message, plain(span.attributes)["error.type"])
           for _, _, span in found if span.status.code}  # fmt: skip
    assert bad == {"turn": (2, "rate_limit", "rate_limit"), "text_to_speech mouth": (2, "rate_limit", "rate_limit")}


@pytest.mark.parametrize(("mark", "name"), [("llm_done", "chat gpt-x"), ("tts_done", "text_to_speech mouth")])
def test_a_span_is_as_long_as_the_work(mark, name):
    """It lasts until the stage had done all that it was asked for, not only until its first answer."""
    found = trace("s", turn(marks=MARKS | {mark: 2_345_000}), [])
    assert [span.to_us for span in found.spans if span.name == name] == [2_345_000]


def test_a_stage_that_never_answered():
    """It has a span from its request to the turn's end, which says why; one that was not even asked has none."""
    marks = {name: at_us for name, at_us in MARKS.items() if at_us <= MARKS["tts_request"]}
    faults = (StageFault("tts", "timeout", recovered=False), StageFault("realtime", "timeout", recovered=False))
    found = trace("s", turn(marks=marks, gap=None, outcome="failed", faults=faults[:1]), [])
    (tts,) = [span for span in found.spans if span.failure]
    assert (tts.name, tts.from_us, tts.to_us, tts.failure) == ("text_to_speech mouth", 1_761_000, 2_500_000, "timeout")
    assert tts.attributes["voice.first_answer_ms"] is None
    found = trace("s", turn(marks={}, gap=None, outcome="failed", faults=faults), [])
    assert found.spans == ()


async def test_texts_only_where_the_record_has_them():
    """Texts are sent only if the record has them, which is the setting's doing; under one prefix."""
    content = {"user": SECRET, "reply": "", "heard": ""}
    asked, _ = await received([*steps(), turn()])
    assert SECRET.encode() not in b"".join(each.body for each in asked)
    _, found = await received([turn(content=content)])
    holders = [
        (span.name, name) for _, _, span in found for name, value in plain(span.attributes).items() if value == SECRET
    ]
    assert holders == [("turn", "voice.content.user")]


async def test_the_environment_says_where(monkeypatch):
    """Without a setting OpenTelemetry's own variables do: where, with which headers, under which name."""
    base = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "{base}",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=voice",
        "OTEL_SERVICE_NAME": "desk",
    }
    asked, found = await received([turn()], endpoint=False, **base)
    assert {each.headers["x-team"] for each in asked} == {"voice"}
    assert plain(found[0][0].attributes)["service.name"] == "desk"
    assert not traces_wanted()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")
    assert traces_wanted()
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    assert not traces_wanted()


async def test_nobody_listens(monkeypatch):
    """A collector that is not there costs the end of the server no more than its limit; nothing is raised."""
    monkeypatch.setattr(otel, "LAST_WORD_S", 0.2)
    tracer = Tracer("http://127.0.0.1:1").__enter__()
    tracer.turn("s", turn())
    await asyncio.to_thread(tracer.__exit__, None, None, None)


def test_without_the_extra(monkeypatch):
    """What is missing is said in one sentence, with the command that installs it."""
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("opentelemetry"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ExportError, match=r"pip install 'voiceagent\[otel\]'"):
        Tracer("http://127.0.0.1:1").__enter__()


def test_states_that_are_remembered():
    """States are cut to the turn; the one that lasts has no trigger; ended sessions are forgotten in order."""
    memory = Memory()
    for step in steps()[:5]:
        memory.step("s", step)
    assert memory.stays("s", 1_600_000, 2_000_000) == [
        Stay("thinking", 1_600_000, 1_842_000, "first_frame"), Stay("speaking", 1_842_000, 2_000_000, ""),
    ]  # fmt: skip
    assert memory.stays("another", 0, 1) == []
    for number in range(MOST_CLOSED + 5):
        memory.step(f"s{number}", steps()[-1])
    assert len(memory) == MOST_CLOSED + 1


def test_no_span_runs_backwards():
    """A turn whose clock was mapped wrongly still has a trace; what would end before it begins is left out."""
    odd = turn(gap=replace(turn().gap, gap_us=-5), marks={"llm_request": 1_500_000, "llm_first_token": 1_400_000})
    found = trace("s", odd, [])
    assert [(span.name, span.from_us) for span in (found.root, *found.spans)] == [("turn", START_US)]
