"""Many small parts into few files of a size that readers like, each task's row once."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from xaiserve.storage.dataset import Part, merged_key, method_of
from xaiserve.storage.objects import ObjectStore, exists
from xaiserve.storage.outcomes import Outcomes
from xaiserve.storage.parquet import encoded, read_parquet, schema_of_file

FILE_BYTES: Final = 128 << 20
"""What a file aims at; they come out between two thirds of it and half as much again."""

GROUP_BYTES: Final = 32 << 20
"""Of rows in memory per row group: what a reader must hold at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Rows of one part; all when ``positions`` is None."""

    key: str
    positions: npt.NDArray[np.int32] | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Merge:
    """One file to be written: its key, which says which tasks it holds, and what goes into it."""

    key: str
    pieces: tuple[Piece, ...]
    rows: int


def plan_merges(chosen: Outcomes, file_bytes: int = FILE_BYTES) -> list[Merge]:
    """Say which files shall hold the rows of ``chosen``, one per task; see `Outcomes.chosen`.

    The same rows of the same parts make the same files, by name and by content.
    """
    by_method: dict[str, list[tuple[int, Outcomes]]] = {}
    for number, rows in chosen.by_part():
        by_method.setdefault(method_of(chosen.parts[number]), []).append((number, rows))
    return [
        _merge(method, chosen, group)
        for method, mine in sorted(by_method.items())
        for group in _groups(mine, chosen, file_bytes)
    ]


def merge(store: ObjectStore, wanted: Merge) -> Part:
    """Write one file, unless it is there.

    Raises
    ------
    ArtifactNotFoundError
        A part is gone: another driver has published the data set.
    """
    if not exists(store, wanted.key):
        # Another version of the code may have written some of the parts, with a column more.
        schemas = [schema_of_file(store, piece.key) for piece in wanted.pieces]
        newest = max(schemas, key=lambda each: int(each.metadata[b"xaiserve.schema_version"]))
        schema = pa.unify_schemas(schemas).with_metadata(newest.metadata)
        tables = _row_groups(_table(store, piece) for piece in wanted.pieces)
        store.write(wanted.key, encoded(tables, schema))
    return Part(key=wanted.key, size=store.size(wanted.key), rows=wanted.rows)


def _groups(
    mine: Sequence[tuple[int, Outcomes]], chosen: Outcomes, file_bytes: int
) -> Iterator[list[tuple[int, Outcomes]]]:
    """Cut the parts of one method into groups of about equal size."""
    sizes = [chosen.sizes[part] * len(rows) / chosen.lengths[part] for part, rows in mine]
    files = max(1, round(sum(sizes) / file_bytes))
    share = sum(sizes) / files
    middles = np.cumsum(sizes) - np.array(sizes) / 2
    numbered = zip((int(middle // share) for middle in middles), mine, strict=True)
    for _, group in groupby(numbered, key=lambda pair: pair[0]):
        yield [piece for _, piece in group]


def _merge(method: str, chosen: Outcomes, group: Sequence[tuple[int, Outcomes]]) -> Merge:
    tasks = hashlib.sha256(b"".join(rows.ids.tobytes() for _, rows in group)).hexdigest()[:32]
    pieces = [
        Piece(
            chosen.parts[part],
            None if len(rows) == chosen.lengths[part] else rows.position,
        )
        for part, rows in group
    ]
    return Merge(
        key=merged_key(method, tasks),
        pieces=tuple(pieces),
        rows=sum(len(rows) for _, rows in group),
    )


def _table(store: ObjectStore, piece: Piece) -> pa.Table:
    table = read_parquet(store, piece.key)
    return table if piece.positions is None else table.take(pa.array(piece.positions))


def _row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Put tables together until they are worth a row group."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        if sum(each.nbytes for each in waiting) >= GROUP_BYTES:
            yield pa.concat_tables(waiting, promote_options="default")
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting, promote_options="default")
