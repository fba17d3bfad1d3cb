"""The dashboard: it asks for metrics and labels that there are, and is laid out as Grafana needs it."""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest

from tests.exported import steps, turn
from voiceagent.exports.house import House
from voiceagent.exports.prometheus import Metrics

ROOT = Path(__file__).parents[1]
BOARD = json.loads((ROOT / "deploy" / "grafana" / "voiceagent.json").read_text(encoding="utf-8"))
PANELS = BOARD["panels"]
ASKING = [panel for panel in PANELS if panel["type"] != "row"]
WIDTH = 24
ADDED = {"job", "instance"}  # by Prometheus, to what it scrapes


@pytest.fixture(scope="module")
def offered():
    """Every sample that /metrics may have, with its labels."""
    metrics = Metrics(House(rejected=lambda: {"token": 1}, dropped=lambda: {"stdout": 1}))
    metrics.turn("s", turn())
    metrics.transition("s", steps()[0])
    found = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions():
    """Each expression with its panel's title and its legend."""
    return [(panel["title"], target["expr"], target["legendFormat"]) for panel in ASKING for target in panel["targets"]]


@pytest.mark.parametrize(("title", "expression", "legend"), expressions(), ids=lambda value: value[:40])
def test_expressions(offered, title, expression, legend):
    """Each metric that is named is offered, has the labels it is chosen and grouped by, and is read as its kind must be."""
    asked = re.findall(r"(voice_\w+)\{([^}]*)\}(\[[^\]]+\])?", expression)
    assert {name for name, _, _ in asked} == set(re.findall(r"voice_\w+", expression)), "a metric without its job"
    labels = ADDED | set().union(*(offered[name] for name, _, _ in asked))
    for name, matchers, span in asked:
        chosen = re.findall(r"(\w+)(?:=~|=)\"[^\"]*\"", matchers)
        assert "job" in chosen
        assert set(chosen) <= offered[name] | ADDED
        assert bool(span) == name.endswith(("_total", "_bucket", "_sum", "_count")), (
            "counters as rates, gauges as they are"
        )
        assert span in {"", "[$__rate_interval]", "[$__range]"}
    for grouped in re.findall(r"by \(([^)]*)\)", expression):
        assert set(re.split(r",\s*", grouped)) <= labels
    assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= labels
    assert ("histogram_quantile" in expression) <= ("le" in expression)
    assert expression.count("(") == expression.count(")")


def test_every_metric_is_shown(offered):
    """No metric is offered that the dashboard does not show."""
    families = {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in offered}
    text = " ".join(expression for _, expression, _ in expressions())
    assert {name for name in families if name not in text} == set()


def test_layout():
    """Panels have numbers of their own, lie within the width, and none lies over another."""
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    boxes = []
    for panel in PANELS:
        at = panel["gridPos"]
        assert min(at["x"], at["y"]) >= 0
        assert min(at["w"], at["h"]) >= 1
        assert at["x"] + at["w"] <= WIDTH
        boxes.append((at["x"], at["y"], at["x"] + at["w"], at["y"] + at["h"]))
    for one, other in combinations(boxes, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


def test_what_grafana_needs():
    """The board has an address and a format; each panel asks the data source that the reader chooses, and says what it is."""
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,40}", BOARD["uid"])
    assert BOARD["schemaVersion"] >= 36
    assert "id" not in BOARD  # a number of one installation
    variables = {variable["name"]: variable for variable in BOARD["templating"]["list"]}
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert variables["job"]["query"]["query"] == "label_values(voice_sessions_active, job)"
    source = {"type": "prometheus", "uid": "${datasource}"}
    for panel in ASKING:
        assert panel["type"] in {"stat", "timeseries", "heatmap"}
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"] == source
        assert {"defaults", "overrides"} <= set(panel["fieldConfig"])
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names) >= 1
        assert all(target["datasource"] == source for target in panel["targets"])
    for panel in (each for each in PANELS if each["type"] == "row"):
        assert panel["panels"] == []
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(BOARD))) - {"__rate_interval", "__range", "__all"}
    assert used == set(variables)
