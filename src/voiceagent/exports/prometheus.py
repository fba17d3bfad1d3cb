"""The metrics: their names, labels and buckets, and how records become numbers in a registry of their own."""

from collections.abc import Iterable, Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from voiceagent.exports.house import House
from voiceagent.exports.works import STAGES, works
from voiceagent.timeline import Basis, Outcome, TransitionRecord, TurnRecord

BUCKETS_S = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.65, 0.8, 1, 1.25, 1.5, 2, 3, 5, 8)
MOST_LABELS = 200
"""So many values a label may take that others have chosen (models, error codes); the rest are `other`."""


class Metrics:
    """An observer whose records become metrics, in a registry that holds nothing else."""

    def __init__(self, house: House | None = None) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._seen: dict[str, set[str]] = {}
        self._steps: dict[tuple[str, str, str], Counter] = {}
        self._turn_metrics()
        self._step_metrics()
        self.registry.register(_Housekeeping(house or House()))

    def _turn_metrics(self) -> None:
        self._gap = self._histogram(
            "voice_response_gap_seconds",
            "From the user's last voiced sample to the reply's first audible one; `sent`: to its first frame sent.",
            ("basis",),
        )
        self._segment = self._counter(
            "voice_response_gap_segment_seconds",
            "Time of response gaps by the segment that it went into; they tile the gap.",
            ("segment",),
        )
        self._stage = self._histogram(
            "voice_stage_seconds",
            "From a stage's request to its first useful answer: the final words, the first token, the first audio.",
            ("stage", "model"),
        )
        self._yield = self._histogram(
            "voice_yield_seconds", "From the onset of speech over a reply to the browser's word that all is silent."
        )
        self._hold = self._histogram("voice_hold_seconds", "From the onset of sound over a reply to the hold.")
        self._false = self._counter("voice_false_barge_in", "Sounds over a reply that were judged to be nothing.")
        self._clock_errors = self._counter("voice_clock_errors", "Gaps whose segments do not sum to them.")
        self._guesses = self._counter(
            "voice_speculation", "Replies that were prepared early, by whether they were used.", ("result",)
        )
        self._turns = self._counter("voice_turns", "Turns by what became of them.", ("origin", "outcome"))
        self._errors = self._counter("voice_upstream_errors", "Failures of the back-ends.", ("stage", "code"))
        # What has not happened yet is zero, not unknown: else a share has no value before its first miss.
        for basis in get_args(Basis):
            self._gap.labels(basis)
        for result in ("hit", "miss"):
            self._guesses.labels(result)
        for outcome in get_args(Outcome):
            self._turns.labels("user", outcome)

    def _step_metrics(self) -> None:
        self._transitions = self._counter(
            "voice_transitions", "Steps of the state machine, moves and stays alike.", ("from", "trigger", "to")
        )
        self._lag = self._histogram(
            "voice_loop_lag_seconds", "How late the event loop took a fact, at most, between two steps of a session."
        )

    def _histogram(self, name: str, text: str, labels: Iterable[str] = ()) -> Histogram:
        return Histogram(name, text, labels, buckets=BUCKETS_S, registry=self.registry)

    def _counter(self, name: str, text: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    # -- what happens
    def transition(self, session: str, record: TransitionRecord) -> None:
        """Count one step and note the lag that it was taken with."""
        del session
        step = (record.source, record.trigger, record.target)
        counter = self._steps.get(step)
        if counter is None:  # looking a child up costs more than counting
            counter = self._steps[step] = self._transitions.labels(*step)
        counter.inc()
        self._lag.observe(record.loop_lag_us / 1e6)

    def turn(self, session: str, record: TurnRecord) -> None:
        """Take the figures of one turn."""
        del session
        self._turns.labels(record.origin, record.outcome).inc()
        if record.gap is not None:
            self._clock_errors.inc(int(record.gap.clock_error))
            self._gap.labels(record.gap.basis).observe(max(0, record.gap.gap_us) / 1e6)
            for name, length_us in record.gap.segments_us.items():
                self._segment.labels(name).inc(length_us / 1e6)
        for work in works(record.marks):
            if work.name in STAGES:
                self._stage.labels(work.name, self._model(record, work.name)).observe(work.waited / 1e6)
        hits = min(record.speculation.tries, int(record.speculation.hit))
        self._guesses.labels("hit").inc(hits)
        self._guesses.labels("miss").inc(record.speculation.tries - hits)
        for sound in record.barge_ins:
            if sound.hold_us is not None:
                self._hold.observe(sound.hold_us / 1e6)
            if sound.yield_us is not None:
                self._yield.observe(sound.yield_us / 1e6)
            if sound.verdict == "rejected":
                self._false.inc()
        for fault in record.faults:
            self._errors.labels(self._known("stage", fault.stage), self._known("code", fault.code)).inc()

    def _model(self, record: TurnRecord, stage: str) -> str:
        part = {"stt": record.stt, "llm": record.llm, "tts": record.tts, "realtime": record.llm}[stage]
        return self._known("model", (part.model if part is not None else "") or "unknown")

    def _known(self, label: str, value: str) -> str:
        """The value, or `other` where the label has had too many."""
        seen = self._seen.setdefault(label, set())
        if value not in seen:
            if len(seen) >= MOST_LABELS:
                return "other"
            seen.add(value)
        return value


class _Housekeeping(Collector):
    """The server's own figures, as it has them at the moment."""

    def __init__(self, house: House) -> None:
        self._house = house

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        house = self._house
        yield GaugeMetricFamily("voice_sessions_active", "Sessions that run.", value=house.sessions())
        yield GaugeMetricFamily("voice_sessions_capacity", "Sessions that may run at a time.", value=house.capacity())
        yield _counted("voice_sessions_rejected", "Sessions that were not let in.", "reason", house.rejected())
        text = "Records that the log dropped because its queue or a sink was full, slow or closed."
        yield _counted("voice_log_dropped", text, "sink", house.dropped())


def _counted(name: str, text: str, label: str, counts: Mapping[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, times in sorted(dict(counts).items()):
        family.add_metric((value,), times)
    return family
