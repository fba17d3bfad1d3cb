"""Our spans as the SDK's: made as finished ones, since their times and their trace are known."""

from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from voiceagent.exports.spans import Span, Trace

_IDS = RandomIdGenerator()


class Translator:
    """Makes the SDK's spans of one scope."""

    def __init__(self, provider: TracerProvider, name: str, version: str, schema_url: str) -> None:
        self._sampler = provider.sampler
        self._resource = provider.resource
        self._scope = InstrumentationScope(name, version, schema_url)

    def spans(self, trace: Trace, offset_ns: int) -> list[ReadableSpan]:
        """Return the spans of a turn, its root last; none where the sampler leaves the trace out."""
        trace_id = int(trace.id, 16) if trace.id else _IDS.generate_trace_id()
        if self._sampler.should_sample(None, trace_id, trace.root.name).decision is not Decision.RECORD_AND_SAMPLE:
            return []
        root = _context(trace_id)
        spans = [self._span(span, _context(trace_id), root, offset_ns) for span in trace.spans]
        return [*spans, self._span(trace.root, root, None, offset_ns)]

    def _span(self, span: Span, context: SpanContext, parent: SpanContext | None, offset_ns: int) -> ReadableSpan:
        return ReadableSpan(
            span.name, context, parent, self._resource, _present(span.attributes),
            [Event(moment.name, _present(moment.attributes), moment.at_us * 1000 + offset_ns) for moment in span.moments],
            kind=SpanKind.CLIENT if span.remote else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, span.failure) if span.failure else Status(StatusCode.UNSET),
            start_time=span.from_us * 1000 + offset_ns, end_time=span.to_us * 1000 + offset_ns,
            instrumentation_scope=self._scope,
        )  # fmt: skip


def _context(trace_id: int) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(trace_id, _IDS.generate_span_id(), is_remote=False, trace_flags=flags)


def _present(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that have a value; an empty list says nothing either."""
    return {name: value for name, value in attributes.items() if value is not None and value not in ((), [])}
