"""A meter that remembers."""

from collections import defaultdict

from xaiserve.dispatch.metrics import Metric
from xaiserve.serve.observing.metrics import METRICS


class MemoryMeter:
    """Remembers counts, values and observations by metric name and labels.

    It is as strict as Ray: a metric is in the table, and all its labels are given.
    """

    def __init__(self) -> None:
        self.counts: dict[tuple[str, ...], float] = defaultdict(float)
        self.values: dict[tuple[str, ...], float] = {}
        self.seen: dict[tuple[str, ...], list[float]] = defaultdict(list)

    def count(self, metric: Metric, amount: float = 1, /, **labels: str) -> None:
        assert amount >= 0
        self.counts[_key(metric, "counter", labels)] += amount

    def put(self, metric: Metric, value: float, /, **labels: str) -> None:
        self.values[_key(metric, "gauge", labels)] = value

    def observe(self, metric: Metric, value: float, /, **labels: str) -> None:
        self.seen[_key(metric, "histogram", labels)].append(value)


def _key(metric: Metric, kind: str, labels: dict[str, str]) -> tuple[str, ...]:
    assert metric in METRICS
    assert metric.kind == kind
    assert set(labels) == set(metric.labels)
    assert all(isinstance(text, str) for text in labels.values())
    return (metric.name, *(labels[label] for label in metric.labels))
