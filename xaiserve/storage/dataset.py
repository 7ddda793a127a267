"""The data set of one job, as readers see it: which files count, and which of their rows.

Layout under the output's prefix::

    job.json                                the configuration, written once, before all else
    method=NAME/part-DIGEST.parquet         rows of some tasks, one write each
    _SUCCESS.json                           the parts that count, written once, after all else

The method is in the path and not in the files, as readers of such data sets expect. While there is
no ``_SUCCESS.json`` all parts are read; two of them may hold the same task, when chunks were cut
differently in another run, and then one row counts, by a rule that depends on nothing but the
parts. Once it is there, a part that it does not list counts for nothing, so that a worker that was
thought dead can write late.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, TypeVar

import pyarrow as pa

from xaiserve.errors import ArtifactNotFoundError, InvalidInputError
from xaiserve.storage.objects import ObjectStore, read_if_there
from xaiserve.storage.opening import open_store
from xaiserve.storage.parquet import column_names, joined, read_parquet
from xaiserve.storage.records import RowFormat, TaskRow

R = TypeVar("R")

SUCCESS: Final = "_SUCCESS.json"
METHOD: Final = "method"
_PREFIX: Final = f"{METHOD}="

Outcome = tuple[str, str]
"""Task id and status of one row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One Parquet file of a finished data set; ``size`` in bytes."""

    key: str
    size: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What ``_SUCCESS.json`` says: the files that count, and their rows in all and by status."""

    schema_version: int
    config_digest: str
    files: tuple[Part, ...]
    rows: int
    counts: dict[str, int]

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        found = json.loads(text)
        return cls(**(found | {"files": tuple(Part(**part) for part in found["files"])}))


def read_manifest(store: ObjectStore) -> Manifest | None:
    """Read what a finished job published; None while it is unfinished."""
    text = read_if_there(store, SUCCESS)
    return None if text is None else Manifest.from_json(text)


def all_parts(store: ObjectStore) -> list[str]:
    """List every part there is, listed in ``_SUCCESS.json`` or not, sorted."""
    return [key for key in store.list(_PREFIX) if key.endswith(".parquet")]


def current_parts(store: ObjectStore) -> list[str]:
    """List the parts that count at this moment, sorted."""
    manifest = read_manifest(store)
    return all_parts(store) if manifest is None else sorted(part.key for part in manifest.files)


def part_key(method: str, name: str) -> str:
    """Name a part of a method."""
    return f"{_PREFIX}{method}/part-{name}.parquet"


def method_of(key: str) -> str:
    """Return the method in a part's path."""
    return key.removeprefix(_PREFIX).partition("/")[0]


def outcomes_in(store: ObjectStore, key: str) -> list[Outcome]:
    """Read task id and status of each row of a part, and nothing else of it."""
    columns = read_parquet(store, key, ["task_id", "status"])
    return list(zip(*(columns[name].to_pylist() for name in ("task_id", "status")), strict=True))


def rows_that_count(parts: Mapping[str, Sequence[Outcome]]) -> dict[str, tuple[str, int]]:
    """Choose one row per task: return its part and position.

    A row that is ``ok`` counts before others, then the one in the part whose key comes first.
    """
    best: dict[str, tuple[bool, str, int]] = {}
    for key, outcomes in parts.items():
        for position, (task_id, status) in enumerate(outcomes):
            rank = (status != "ok", key, position)
            best[task_id] = min(best.get(task_id, rank), rank)
    return {task_id: (key, position) for task_id, (_, key, position) in best.items()}


def read_rows(
    source: ObjectStore | str | Path,
    columns: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
    endpoint: str | None = None,
) -> pa.Table:
    """Read a job's rows, exactly one per task, sorted by method and part.

    Parameters
    ----------
    source
        The output's prefix, or a store rooted there.
    columns
        Names, by default all; only those are transferred. A column that a method lacks is null.
    methods
        By default all.

    Raises
    ------
    InvalidInputError
        No part has such a column, or two methods use one name for different types.
    """
    store = source if isinstance(source, ObjectStore) else open_store(source, endpoint=endpoint)
    try:
        return _read(store, columns, methods)
    except ArtifactNotFoundError:
        # The job finished, and removed superfluous parts, after they were listed.
        if read_manifest(store) is None:
            raise
        return _read(store, columns, methods)


def read_results(
    source: ObjectStore | str | Path,
    method: str,
    row_format: RowFormat[R],
    *,
    endpoint: str | None = None,
) -> list[tuple[TaskRow, R | None]]:
    """Read one method's tasks and results."""
    table = read_rows(source, methods=[method], endpoint=endpoint)
    return row_format.from_table(table) if len(table) else []


def _read(
    store: ObjectStore, columns: Sequence[str] | None, methods: Sequence[str] | None
) -> pa.Table:
    keys = [key for key in current_parts(store) if methods is None or method_of(key) in methods]
    _check_columns(store, keys, columns or ())
    chosen = rows_that_count({key: outcomes_in(store, key) for key in keys})
    positions: dict[str, list[int]] = {}
    for key, position in sorted(chosen.values()):
        positions.setdefault(key, []).append(position)
    return joined([_part(store, key, columns, positions[key]) for key in sorted(positions)])


def _check_columns(store: ObjectStore, keys: Iterable[str], columns: Sequence[str]) -> None:
    unknown = set(columns) - {METHOD}
    known = {METHOD}
    for key in keys:
        if not unknown:
            return
        known.update(column_names(store, key))
        unknown -= known
    if unknown and len(known) > 1:
        raise InvalidInputError(
            f"column must be one of {', '.join(sorted(known))}, got {', '.join(sorted(unknown))}"
        )


def _part(
    store: ObjectStore, key: str, columns: Sequence[str] | None, positions: Sequence[int]
) -> pa.Table:
    table = read_parquet(store, key, columns).take(pa.array(positions, pa.int64()))
    if columns is not None and METHOD not in columns:
        return table
    names = pa.array([method_of(key)] * len(positions), pa.string())
    return table.append_column(METHOD, names)
