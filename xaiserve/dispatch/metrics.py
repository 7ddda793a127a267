"""What counted numbers are, and the port through which they leave; and what jobs count.

Ray's exporter on each node publishes them, and Ray's own, for Prometheus, with ``ray_`` before each
name and ``_total`` behind each counter's. Labels have few values: no keys, no images, no texts of
clients.
"""

from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One name.

    Parameters
    ----------
    bounds
        Upper bounds of a histogram's buckets; the last is followed by one without.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()

    @property
    def exported(self) -> tuple[str, ...]:
        """Names under which Prometheus sees it."""
        endings = {
            "counter": ("_total",),
            "gauge": ("",),
            "histogram": ("_bucket", "_sum", "_count"),
        }
        return tuple(f"ray_{self.name}{ending}" for ending in endings[self.kind])


JOB_ROWS: Final = Metric(
    name="xaiserve_job_rows",
    kind="counter",
    about="Rows that data set jobs have published: error where something has failed, else ok.",
    labels=("explainer", "status"),
)


@runtime_checkable
class Meter(Protocol):
    """Where numbers go; thread-safe."""

    def count(self, metric: Metric, amount: float = 1, /, **labels: str) -> None:
        """Add to a counter; an amount of 0 shows a counter that has not counted yet."""
        ...

    def put(self, metric: Metric, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        ...

    def observe(self, metric: Metric, value: float, /, **labels: str) -> None:
        """Add a value to a histogram."""
        ...


class NoMeter:
    """Counts nothing: for a server outside of Ray."""

    def count(self, metric: Metric, amount: float = 1, /, **labels: str) -> None:
        pass

    def put(self, metric: Metric, value: float, /, **labels: str) -> None:
        pass

    def observe(self, metric: Metric, value: float, /, **labels: str) -> None:
        pass
