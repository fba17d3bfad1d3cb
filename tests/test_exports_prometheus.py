"""The metrics: each record becomes the numbers that it should, and whoever reaches the port may read them."""

import re
import socket
import threading
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.exported import steps, turn
from voiceagent.exports.errors import ExportError
from voiceagent.exports.house import House
from voiceagent.exports.prometheus import BUCKETS_S, MOST_LABELS, Metrics
from voiceagent.exports.scraping import MOST_SCRAPES, MetricsServer
from voiceagent.timeline import StageFault

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def value(metrics, name, **labels):
    """One sample."""
    return metrics.registry.get_sample_value(name, labels)


def test_names_labels_and_buckets():
    """The metrics are those that are documented, each with its labels; every histogram has the same buckets."""
    metrics = Metrics(House(rejected=lambda: {"capacity": 1}, dropped=lambda: {"file": 1}))
    metrics.turn("s", turn())
    metrics.transition("s", steps()[0])
    found = {}
    for family in metrics.registry.collect():
        labels = {label for sample in family.samples for label in sample.labels}
        found[family.name] = (family.type, labels - {"le"})
    assert found == {
        "voice_response_gap_seconds": ("histogram", {"basis"}),
        "voice_response_gap_segment_seconds": ("counter", {"segment"}),
        "voice_stage_seconds": ("histogram", {"stage", "model"}),
        "voice_yield_seconds": ("histogram", set()),
        "voice_hold_seconds": ("histogram", set()),
        "voice_false_barge_in": ("counter", set()),
        "voice_clock_errors": ("counter", set()),
        "voice_speculation": ("counter", {"result"}),
        "voice_turns": ("counter", {"origin", "outcome"}),
        "voice_upstream_errors": ("counter", {"stage", "code"}),
        "voice_transitions": ("counter", {"from", "trigger", "to"}),
        "voice_loop_lag_seconds": ("histogram", set()),
        "voice_sessions_rejected": ("counter", {"reason"}),
        "voice_sessions_active": ("gauge", set()),
        "voice_sessions_capacity": ("gauge", set()),
        "voice_log_dropped": ("counter", {"sink"}),
    }
    assert BUCKETS_S == (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1, 1.25, 1.5, 2, 3, 5, 8)


def test_a_turn():
    """The gap with its segments, the waits for the stages, sounds, guesses and faults are counted."""
    metrics = Metrics()
    metrics.turn("s", turn())
    assert value(metrics, "voice_response_gap_seconds_sum", basis="heard") == 0.7
    assert value(metrics, "voice_response_gap_seconds_bucket", basis="heard", le="0.65") == 0
    assert value(metrics, "voice_response_gap_seconds_bucket", basis="heard", le="0.8") == 1
    assert value(metrics, "voice_response_gap_seconds_count", basis="sent") == 0
    assert value(metrics, "voice_response_gap_segment_seconds_total", segment="endpoint_wait") == 0.29
    models = {"stt": "ear", "llm": "gpt-x", "tts": "mouth"}
    waits = {
        stage: value(metrics, "voice_stage_seconds_sum", stage=stage, model=model) for stage, model in models.items()
    }
    assert waits == {"stt": 0.22, "llm": 0.2, "tts": 0.08}
    assert (value(metrics, "voice_hold_seconds_count"), value(metrics, "voice_hold_seconds_sum")) == (2, 0.13)
    assert (value(metrics, "voice_yield_seconds_count"), value(metrics, "voice_yield_seconds_sum")) == (1, 0.15)
    assert value(metrics, "voice_false_barge_in_total") == 1
    assert value(metrics, "voice_speculation_total", result="hit") == 1
    assert value(metrics, "voice_speculation_total", result="miss") == 1
    assert value(metrics, "voice_turns_total", origin="user", outcome="completed") == 1
    assert value(metrics, "voice_upstream_errors_total", stage="tts", code="rate_limit") == 1


def test_a_clock_that_errs():
    """A gap whose segments do not sum to it is counted."""
    metrics = Metrics()
    metrics.turn("s", turn())
    assert value(metrics, "voice_clock_errors_total") == 0
    metrics.turn("s", replace(turn(), gap=replace(turn().gap, residual_us=4_500)))
    assert value(metrics, "voice_clock_errors_total") == 1


def test_a_turn_without_a_reply():
    """A turn that was discarded has no gap and no waits; it is counted."""
    metrics = Metrics()
    metrics.turn("s", turn(marks={"speech_start": 1_000_000}, gap=None, outcome="discarded", barge_ins=(), faults=()))
    assert value(metrics, "voice_turns_total", origin="user", outcome="discarded") == 1
    assert value(metrics, "voice_response_gap_seconds_count", basis="heard") == 0
    assert value(metrics, "voice_stage_seconds_count", stage="llm", model="gpt-x") is None


def test_transitions():
    """Each step is counted under where it came from, why, and where it led; with the lag of the loop."""
    metrics = Metrics()
    for step in steps() * 2:
        metrics.transition("s", step)
    taken = {"from": "transcribing_open", "trigger": "pause", "to": "transcribing_open"}
    assert value(metrics, "voice_transitions_total", **taken) == 2
    assert value(metrics, "voice_loop_lag_seconds_count") == 14


def test_what_the_server_knows():
    """Sessions, places, rejections and dropped records are asked for at each scrape."""
    house = {"sessions": 3, "capacity": 50, "dropped": {"stdout": 7}, "rejected": {"capacity": 1}}
    metrics = Metrics(House(**{name: lambda name=name: house[name] for name in house}))
    assert value(metrics, "voice_sessions_active") == 3
    assert value(metrics, "voice_sessions_capacity") == 50
    assert value(metrics, "voice_log_dropped_total", sink="stdout") == 7
    assert value(metrics, "voice_sessions_rejected_total", reason="capacity") == 1
    house["sessions"] = 4
    assert value(metrics, "voice_sessions_active") == 4


def test_labels_that_others_choose_are_bounded():
    """A back-end that makes up a new error code each time fills no memory: the later ones are `other`."""
    metrics = Metrics()
    for number in range(MOST_LABELS + 10):
        metrics.turn("s", turn(faults=(StageFault("llm", f"code_{number}", recovered=False),)))
    assert value(metrics, "voice_upstream_errors_total", stage="llm", code="code_0") == 1
    assert value(metrics, "voice_upstream_errors_total", stage="llm", code="other") == 10


def get(port, path):
    """The status and the text of a path."""
    try:
        with OPENER.open(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_scrape():
    """/metrics is in Prometheus' format; any other path is not found; afterwards nothing is left."""
    metrics = Metrics()
    metrics.turn("s", turn())
    with MetricsServer(metrics.registry, "127.0.0.1", 0) as server:
        status, text = get(server.port, "/metrics")
        others = [get(server.port, path) for path in ("/", "/metric", "/metrics/", "/favicon.ico", "/..")]
    assert status == 200
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"voice_response_gap_seconds", "voice_log_dropped", "voice_sessions_active"} <= names
    assert others == [(404, "The metrics are at /metrics.\n")] * 5
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", server.port), timeout=1)
    assert [thread.name for thread in threading.enumerate() if thread.name == "metrics"] == []


def test_the_port_is_busy():
    """Who has the port is not said, but that it is taken, and which setting takes another."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ExportError, match=f"cannot serve metrics on 127.0.0.1:{port}: .* metrics_port"):
            MetricsServer(Metrics().registry, "127.0.0.1", port)


def test_many_at_once():
    """Connections that ask for nothing take a place each; the next one is hung up on, not waited for."""
    with MetricsServer(Metrics().registry, "127.0.0.1", 0) as server:
        silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(MOST_SCRAPES)]
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as more:
            assert more.recv(1) == b""
        for each in silent:
            each.close()


def test_the_page_names_them_all():
    """docs/exports.md has each metric with its kind and its labels, and the buckets."""
    page = (Path(__file__).parents[1] / "docs" / "exports.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| `(voice_\w+)` \| (\w+) \|([^|]*)\|", page)
    metrics = Metrics(House(rejected=lambda: {"capacity": 1}, dropped=lambda: {"file": 1}))
    metrics.turn("s", turn())
    metrics.transition("s", steps()[0])
    offered = {
        (family.name + ("_total" if family.type == "counter" else ""), family.type): {
            label for sample in family.samples for label in sample.labels
        } - {"le"}
        for family in metrics.registry.collect()
    }  # fmt: skip
    assert {(name, kind): set(re.findall(r"\w+", labels)) for name, kind, labels in rows} == offered
    told = re.search(r"has the buckets ([^s]*) seconds", page)[1].replace(" and ", ", ")
    assert tuple(map(float, told.split(", "))) == BUCKETS_S
