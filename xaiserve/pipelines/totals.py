"""`Totals`: how a finished job came out, read back from its rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from xaiserve.storage.dataset import read_rows
from xaiserve.storage.objects import ObjectStore

FAILURES: Final = frozenset({"error", "invalid_image"})
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
    rows: list[dict[str, Any]] = read_rows(store, _COLUMNS).to_pylist()  # Any: columns differ
    failures = [row for row in rows if row["status"] in FAILURES]
    by_method: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_method.setdefault(row["method"], []).append(row)
    return Totals(
        out=store.uri,
        rows=len(rows),
        failed=len(failures),
        reasons=tuple(
            f"{row['row_id']} ({row['method']}): {row['error_text']}"
            for row in sorted(failures, key=lambda row: (row["row_id"], row["method"]))[:REASONS]
        ),
        methods=tuple(_of_method(method, found) for method, found in sorted(by_method.items())),
    )


def _of_method(method: str, rows: Sequence[Mapping[str, Any]]) -> MethodTotals:
    counts = Counter(row["status"] for row in rows)
    return MethodTotals(
        method=method,
        ok=counts["ok"],
        none=counts["none"],
        failed=sum(counts[status] for status in FAILURES),
        model_inputs=sum(row["model_inputs"] for row in rows) / len(rows),
        device_seconds=sum(row["device_seconds"] for row in rows) / len(rows),
    )
