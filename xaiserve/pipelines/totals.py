"""`Totals`: how a finished job came out, read back from its rows."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from xaiserve.storage.dataset import each_row
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.outcomes import FAILURES

REASONS: Final = 5
"""Failed rows whose reason is kept here; all of them are in the rows."""

_COLUMNS: Final = ("method", "row_id", "status", "error_text", "model_inputs", "device_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodTotals:
    """All rows of one method.

    Parameters
    ----------
    none
        Images for which the method has no answer, which is a result.
    failed
        Images that could not be read or explained.
    model_inputs, device_seconds
        Means per row.
    """

    method: str
    ok: int
    none: int
    failed: int
    model_inputs: float
    device_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """All rows of one job.

    Parameters
    ----------
    out
        Where they are.
    rows, failed
        In all.
    reasons
        Of the first failed rows.
    methods
        By name.
    """

    out: str
    rows: int
    failed: int
    reasons: tuple[str, ...]
    methods: tuple[MethodTotals, ...]

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        return asdict(self)


def read_totals(store: ObjectStore) -> Totals:
    """Count the rows of a job by method and status."""
    counts: dict[str, _Count] = {}
    failures: list[tuple[str, str, str]] = []
    for row in each_row(store, _COLUMNS):
        counts.setdefault(row["method"], _Count()).add(row)
        if row["status"] in FAILURES:
            failures = sorted([*failures, (row["row_id"], row["method"], row["error_text"])])
            del failures[REASONS:]
    return Totals(
        out=store.uri,
        rows=sum(each.rows for each in counts.values()),
        failed=sum(each.failed for each in counts.values()),
        reasons=tuple(f"{row_id} ({method}): {text}" for row_id, method, text in failures),
        methods=tuple(each.totals(method) for method, each in sorted(counts.items())),
    )


class _Count:
    """Rows of one method so far."""

    def __init__(self) -> None:
        self._status = Counter[str]()
        self._model_inputs = 0
        self._device_seconds = 0.0

    def add(self, row: Mapping[str, Any]) -> None:  # Any: columns differ in type
        self._status[row["status"]] += 1
        self._model_inputs += row["model_inputs"]
        self._device_seconds += row["device_seconds"]

    @property
    def rows(self) -> int:
        return self._status.total()

    @property
    def failed(self) -> int:
        return sum(self._status[status] for status in FAILURES)

    def totals(self, method: str) -> MethodTotals:
        return MethodTotals(
            method=method,
            ok=self._status["ok"],
            none=self._status["none"],
            failed=self.failed,
            model_inputs=self._model_inputs / self.rows,
            device_seconds=self._device_seconds / self.rows,
        )
