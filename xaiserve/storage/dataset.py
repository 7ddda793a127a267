"""The data set of one job, as readers see it: which files count, and which of their rows.

Layout under the output's prefix::

    _job.json                                 the configuration, written once, before all else
    _parts/method=NAME/part-DIGEST.parquet    rows of some tasks, one write each
    _PARTS.json                               the parts that count, written once, when none lacks
    method=NAME/rows-DIGEST.parquet           many parts' rows, each task's once
    _SUCCESS.json                             those files, written once, after all else

The method is in the path and not in the files, as readers of such data sets expect; they leave out
what begins with an underscore, so that they never see a task twice. Two parts may hold the same
task, when chunks were cut differently in another run, and then one row counts, by a rule that
depends on nothing but the parts. While there is no ``_SUCCESS.json``, `read_rows` reads the parts.
Once it is there, a file that it does not list counts for nothing, so that a worker that was thought
dead can write late.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pyarrow as pa

from xaiserve.errors import ArtifactNotFoundError, InvalidInputError
from xaiserve.storage.objects import ObjectStore, read_if_there
from xaiserve.storage.opening import open_store
from xaiserve.storage.outcomes import Outcomes
from xaiserve.storage.parquet import (
    column_names,
    having,
    joined,
    read_parquet,
    row_groups,
    rows_with,
)
from xaiserve.storage.records import RowFormat, TaskRow
from xaiserve.storage.versions import check_version, read_job

R = TypeVar("R")

SUCCESS: Final = "_SUCCESS.json"
PARTS: Final = "_parts/"
METHOD: Final = "method"
ROW_ID: Final = "row_id"
_PREFIX: Final = f"{METHOD}="

_AT_ONCE: Final = 1024
"""Rows that are plain values at a time: a row group may hold as many as fit into a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One Parquet file of a finished data set; ``size`` in bytes."""

    key: str
    size: int
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What ``_SUCCESS.json`` says.

    Parameters
    ----------
    files
        Those that count.
    rows, counts
        In all, and by status.
    about
        What made them, as JSON: configuration, model digest, seed, version of the code.
    """

    schema_version: int
    config_digest: str
    files: tuple[Part, ...]
    rows: int
    counts: dict[str, int]
    about: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Manifest":  # Any: JSON
        return cls(**{**found, "files": tuple(Part(**part) for part in found["files"])})


def read_manifest(store: ObjectStore) -> Manifest | None:
    """Read what a finished job published; None while it is unfinished.

    Raises
    ------
    InvalidInputError
        Its rows are of an unknown version.
    """
    text = read_if_there(store, SUCCESS)
    if text is None:
        return None
    found = json.loads(text)
    check_version(store, found["schema_version"])
    return Manifest.from_json(found)


def all_parts(store: ObjectStore) -> list[str]:
    """List every part there is, sorted."""
    return [key for key in store.list(PARTS) if key.endswith(".parquet")]


def all_files(store: ObjectStore) -> list[str]:
    """List every part and every file of merged rows, listed in ``_SUCCESS.json`` or not."""
    return [*all_parts(store), *(key for key in store.list(_PREFIX) if key.endswith(".parquet"))]


def part_key(method: str, name: str) -> str:
    """Name a part of a method."""
    return f"{PARTS}{_PREFIX}{method}/part-{name}.parquet"


def merged_key(method: str, name: str) -> str:
    """Name a file that holds the rows of many parts."""
    return f"{_PREFIX}{method}/rows-{name}.parquet"


def method_of(key: str) -> str:
    """Return the method in a file's path."""
    return key.removeprefix(PARTS).removeprefix(_PREFIX).partition("/")[0]


def read_rows(
    source: ObjectStore | str | Path,
    columns: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
    endpoint: str | None = None,
) -> pa.Table:
    """Read a job's rows, exactly one per task, sorted by method and file.

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
        No file has such a column, two methods use one name for different types, or the rows are of
        an unknown version.
    """
    store = source if isinstance(source, ObjectStore) else open_store(source, endpoint=endpoint)
    try:
        return joined(list(stream_rows(store, columns, methods=methods)))
    except ArtifactNotFoundError:
        # The job finished, and removed its parts, after they were listed.
        if read_manifest(store) is None:
            raise
        return joined(list(stream_rows(store, columns, methods=methods)))


def stream_rows(
    store: ObjectStore,
    columns: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Yield the rows of `read_rows` piece by piece, for jobs whose rows do not fit into memory.

    Raises
    ------
    InvalidInputError
        No file has such a column, or the rows are of an unknown version.
    ArtifactNotFoundError
        The job finished meanwhile: begin again.
    """
    keys, finished = _keys(store, methods)
    _check_columns(store, keys, columns or ())
    pieces = _of_files(store, keys, columns) if finished else _of_parts(store, keys, columns)
    for key, table in pieces:
        yield _with_method(table, key) if columns is None or METHOD in columns else table


def each_row(
    store: ObjectStore,
    columns: Sequence[str] | None = None,
    *,
    methods: Sequence[str] | None = None,
) -> Iterator[dict[str, Any]]:  # Any: columns differ in type
    """Yield the rows of `stream_rows` one by one, as plain values.

    Raises
    ------
    InvalidInputError, ArtifactNotFoundError
        See `stream_rows`.
    """
    for table in stream_rows(store, columns, methods=methods):
        for batch in table.to_batches(max_chunksize=_AT_ONCE):
            yield from batch.to_pylist()


def find_rows(store: ObjectStore, method: str, row_ids: Collection[str]) -> Iterator[pa.Table]:
    """Yield the rows that one method has of some images, with all columns.

    Of a finished job only their row groups are read, and the ids of the others before them.

    Raises
    ------
    InvalidInputError, ArtifactNotFoundError
        See `stream_rows`.
    """
    keys, finished = _keys(store, [method])
    wanted = sorted(set(row_ids))
    pieces = _found(store, keys, wanted) if finished else _of_parts(store, keys, None)
    for key, table in pieces:
        if len(few := having(table, ROW_ID, wanted)):
            yield _with_method(few, key)


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


_Piece = tuple[str, pa.Table]


def _keys(store: ObjectStore, methods: Sequence[str] | None) -> tuple[list[str], bool]:
    """List the files that hold the rows of some methods; say whether the job has finished."""
    manifest = read_manifest(store)
    if manifest is None:
        read_job(store)  # refuses an unknown version
    keys = all_parts(store) if manifest is None else sorted(part.key for part in manifest.files)
    mine = [key for key in keys if methods is None or method_of(key) in methods]
    return mine, manifest is not None


def _of_files(
    store: ObjectStore, keys: Iterable[str], columns: Sequence[str] | None
) -> Iterator[_Piece]:
    for key in keys:
        yield from ((key, table) for table in row_groups(store, key, columns))


def _found(store: ObjectStore, keys: Iterable[str], row_ids: Sequence[str]) -> Iterator[_Piece]:
    """Read the rows of one method's files that are wanted, until there can be no more."""
    left = len(row_ids)
    for key in keys:
        for table in rows_with(store, key, ROW_ID, row_ids):
            yield key, table
            left -= len(table)
            if left == 0:
                return


def _of_parts(
    store: ObjectStore, keys: Sequence[str], columns: Sequence[str] | None
) -> Iterator[_Piece]:
    for number, rows in Outcomes.read(store, keys).chosen().by_part():
        key = keys[number]
        table = read_parquet(store, key, columns)
        yield key, table.take(pa.array(rows.position.astype(np.int64)))


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


def _with_method(table: pa.Table, key: str) -> pa.Table:
    return table.append_column(METHOD, pa.array([method_of(key)] * len(table), pa.string()))
