"""The dashboard: every query names metrics that exist and labels that they have."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xaiserve.dispatch.metrics import Metric
from xaiserve.serve.observing.metrics import METRICS

FILE = Path(__file__).resolve().parents[2] / "deploy" / "grafana.json"
EXPORTED = {name: metric for metric in METRICS for name in metric.exported}
RAYS = {"ray_serve_deployment_replica_healthy": {"deployment", "replica", "application"}}
"""What Ray exports itself; `tests/serve/test_running_operations.py` looks at both kinds."""

_NAME = re.compile(r"\bray_[a-z0-9_]+\b")
_MATCHERS = re.compile(r"(ray_[a-z0-9_]+)\{([^}]*)\}")
_GROUPS = re.compile(r"by \(([^)]*)\)")


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    return json.loads(FILE.read_text())


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def wrong_names(query: str) -> list[str]:
    return [name for name in _NAME.findall(query) if name not in {*EXPORTED, *RAYS}]


def labels(name: str) -> set[str]:
    known = RAYS.get(name) or set(EXPORTED[name].labels)
    return {*known, "le"} if name.endswith("_bucket") else known


def wrong_labels(query: str) -> list[str]:
    named = [
        (name, match.partition("=")[0].strip())
        for name, matchers in _MATCHERS.findall(query)
        for match in matchers.split(",")
    ]
    named += [
        (name, label.strip())
        for name in _NAME.findall(query)
        for group in _GROUPS.findall(query)
        for label in group.split(",")
    ]
    return [f"{name}.{label}" for name, label in named if label not in labels(name)]


def test_every_query_names_metrics_and_labels_that_exist(dashboard: dict[str, Any]):
    asked = list(queries(dashboard))

    assert len(asked) > len(dashboard["panels"])
    assert [query for query in asked if wrong_names(query) or wrong_labels(query)] == []


def test_every_metric_of_ours_is_shown(dashboard: dict[str, Any]):
    shown = {EXPORTED.get(name) for query in queries(dashboard) for name in _NAME.findall(query)}

    def is_shown(metric: Metric) -> bool:
        return metric in shown

    assert [metric.name for metric in METRICS if not is_shown(metric)] == []


@pytest.mark.parametrize(
    "query",
    [
        "rate(ray_xaiserve_request_total[1m])",
        "ray_xaiserve_requests",
        "sum by (route) (ray_xaiserve_requests_total)",
        'ray_xaiserve_requests_total{code="200"}',
        "ray_xaiserve_queue_seconds",
    ],
)
def test_a_typo_would_be_seen(query: str):
    assert wrong_names(query) or wrong_labels(query)


def test_panels_have_a_title_a_unit_and_a_place_of_their_own(dashboard: dict[str, Any]):
    panels = dashboard["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}

    assert len(places) == len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["description"] for panel in panels)
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in panels)
