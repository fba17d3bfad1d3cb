"""Canaries in the exports: what back-ends echo, what is said and what is secret is in no metric, no trace and no file."""

import json
from dataclasses import asdict

import pytest
from prometheus_client import generate_latest

from tests.canaries import secrets_in, words_in
from tests.exported import line
from tests.test_canaries import MODES, told_of
from voiceagent.exports.chrome import Chrome
from voiceagent.exports.memory import Memory
from voiceagent.exports.prometheus import Metrics
from voiceagent.exports.spans import trace
from voiceagent.testing.clock import run_virtual
from voiceagent.timeline import TransitionRecord

CONTENT = "voice.content."


def exported(records):
    """What each export makes of the records: the metrics' text, the spans, and the file's events."""
    metrics, memory, chrome = Metrics(), Memory(), Chrome()
    spans, events = [], []
    for record in records:
        events += chrome.record(line("test", record))
        if isinstance(record, TransitionRecord):
            metrics.transition("test", record)
            memory.step("test", record)
        else:
            metrics.turn("test", record)
            told = trace("test", record, memory.stays("test", record.started_us, record.ended_us))
            spans += [asdict(span) for span in (told.root, *told.spans)]
    return generate_latest(metrics.registry).decode(), spans, [*events, *chrome.end()]


@pytest.mark.parametrize(("mode", "stage"), MODES)
@pytest.mark.parametrize("content", [False, True])
def test_canaries(mode, stage, content):
    """Keys are nowhere; words are only in the root span's `voice.content`, and only with `log_content`."""
    _, w = run_virtual(told_of(stage, mode=mode, log_content=content))
    text, spans, events = exported(w.records)
    everything = text + json.dumps(spans) + json.dumps(events)
    assert secrets_in(everything) == []
    assert words_in(text + json.dumps(events)) == []
    held = {name for span in spans for name, value in span["attributes"].items() if words_in(json.dumps(value))}
    assert (held != set()) == content
    assert held <= {CONTENT + name for name in ("user", "reply", "heard")}
    for span in spans:
        span["attributes"] = {name: value for name, value in span["attributes"].items() if name not in held}
    assert words_in(json.dumps(spans)) == []
    if stage:
        assert "voice_upstream_errors_total{" in text
