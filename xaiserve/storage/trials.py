"""The trials of a sweep as one Parquet file, written again whenever one has ended."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from xaiserve.storage.objects import ObjectStore, exists
from xaiserve.storage.parquet import read_parquet, to_parquet

TRIALS: Final = "trials.parquet"

_SCHEMA: Final = pa.schema(
    [
        ("trial", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("objective", pa.string()),
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("images", pa.int64()),
        ("scored", pa.int64()),
        ("unexplained", pa.int64()),
        ("model_inputs", pa.int64()),
        ("seconds", pa.float64()),
        ("method", pa.string()),
        ("method_version", pa.int64()),
        ("course", pa.list_(pa.struct([("images", pa.int64()), ("value", pa.float64())]))),
    ]
)


def write_trials(
    store: ObjectStore, rows: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]
) -> None:
    """Write one row per trial: its columns, and the parameters it drew as ``param_NAME``."""
    table = pa.Table.from_pylist([columns for columns, _ in rows], schema=_SCHEMA)
    for name in rows[0][1]:
        values = [drawn[name] for _, drawn in rows]
        table = table.append_column(f"param_{name}", pa.array(values))
    store.write(TRIALS, to_parquet(table))


def read_trials(store: ObjectStore) -> list[dict[str, Any]]:
    """Read the rows of the trials that have ended, none where there is no such file."""
    if not exists(store, TRIALS):
        return []
    rows: list[dict[str, Any]] = read_parquet(store, TRIALS).to_pylist()
    return rows
