"""`metrics.Meter` over Ray's own metrics, which each node's agent exports for Prometheus."""

import threading
from collections.abc import Mapping
from typing import Any, Final

from ray.util import metrics as ray_metrics

from xaiserve.dispatch.metrics import Metric

_MADE: Final[Mapping[str, Any]] = {
    "counter": ray_metrics.Counter,
    "gauge": ray_metrics.Gauge,
    "histogram": ray_metrics.Histogram,
}


class RayMeter:
    """Makes each metric when it is first used: it needs a process of a Ray cluster."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: dict[str, Any] = {}  # Any: one of Ray's three classes

    def count(self, metric: Metric, amount: float = 1, /, **labels: str) -> None:
        if amount > 0:  # Ray refuses 0
            self._of(metric).inc(amount, tags=labels)

    def put(self, metric: Metric, value: float, /, **labels: str) -> None:
        self._of(metric).set(value, tags=labels)

    def observe(self, metric: Metric, value: float, /, **labels: str) -> None:
        self._of(metric).observe(value, tags=labels)

    def _of(self, metric: Metric) -> Any:  # Any: as above
        with self._lock:
            if metric.name not in self._made:
                more = {"boundaries": list(metric.bounds)} if metric.bounds else {}
                self._made[metric.name] = _MADE[metric.kind](
                    metric.name, description=metric.about, tag_keys=metric.labels, **more
                )
            return self._made[metric.name]
