"""Which tasks have a row, in which part and how they ended: columns, so that millions fit."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, get_args

import numpy as np
import numpy.typing as npt

from xaiserve.storage.ids import IdSet, Keys, as_keys, keys_of
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.parquet import read_with_size
from xaiserve.storage.records import Status

STATUSES: Final[tuple[str, ...]] = get_args(Status)
OK: Final = STATUSES.index("ok")
FAILURES: Final = frozenset({"error", "invalid_image"})

_AT_ONCE: Final = 16
"""Parts read at once: in a bucket each costs a few requests that mostly wait."""

Outcome = tuple[str, str]
"""Task id and status of one row."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outcomes:
    """Rows of parts, without what they hold; 25 bytes per row.

    Parameters
    ----------
    parts
        Keys, sorted.
    sizes
        Bytes of each part.
    lengths
        Rows of each part, those that do not count included.
    ids
        Of the rows' tasks, (n,).
    part, position
        Where each row is: the number of its part, and of the row in it.
    status
        Of each row, as number in `STATUSES`.
    """

    parts: tuple[str, ...]
    sizes: tuple[int, ...]
    lengths: tuple[int, ...]
    ids: Keys
    part: npt.NDArray[np.int32]
    position: npt.NDArray[np.int32]
    status: npt.NDArray[np.int8]

    @classmethod
    def of(cls, parts: Mapping[str, Sequence[Outcome]]) -> "Outcomes":
        """Collect rows that are given; sizes are unknown, and 0."""
        keys = sorted(parts)
        return _collected(keys, ((0, _columns(*_split(parts[key]))) for key in keys))

    @classmethod
    def read(cls, store: ObjectStore, keys: Iterable[str]) -> "Outcomes":
        """Read task id and status of each row of some parts, and nothing else of them."""
        found = sorted(keys)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return _collected(found, threads.map(lambda key: _read(store, key), found))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def tasks(self) -> IdSet:
        """All tasks that have a row."""
        return IdSet.of(self.ids)

    @property
    def failed(self) -> npt.NDArray[np.bool_]:
        """Rows without an explanation that should have one, (n,)."""
        codes = [STATUSES.index(status) for status in FAILURES]
        return np.isin(self.status, codes)

    def counts(self) -> dict[str, int]:
        """Count rows by status, those that occur."""
        numbers = np.bincount(self.status, minlength=len(STATUSES))
        return {
            status: int(number)
            for status, number in sorted(zip(STATUSES, numbers, strict=True))
            if number
        }

    def chosen(self) -> "Outcomes":
        """Choose one row per task.

        A row that is ``ok`` counts before others, then the one in the part whose key comes first.
        """
        order = np.lexsort((self.position, self.part, self.status != OK, self.ids))
        ids = self.ids[order]
        first = np.ones(len(ids), np.bool_)
        first[1:] = ids[1:] != ids[:-1]
        return self.taken(np.sort(order[first]))

    def among(self, tasks: IdSet) -> "Outcomes":
        """Return the rows of ``tasks`` alone."""
        return self.taken(np.flatnonzero(tasks.holds(self.ids)))

    def taken(self, rows: npt.NDArray[np.int64]) -> "Outcomes":
        """Return the rows of those numbers."""
        return Outcomes(
            parts=self.parts,
            sizes=self.sizes,
            lengths=self.lengths,
            ids=self.ids[rows],
            part=self.part[rows],
            position=self.position[rows],
            status=self.status[rows],
        )

    def by_part(self) -> Iterator[tuple[int, "Outcomes"]]:
        """Yield the rows of each part that has some, by its number; they must be in that order."""
        edges = [*np.flatnonzero(np.diff(self.part, prepend=-1)), len(self)]
        for start, stop in pairwise(edges):
            yield int(self.part[start]), self.taken(np.arange(start, stop))


_Columns = tuple[Keys, npt.NDArray[np.int8]]


def _split(rows: Sequence[Outcome]) -> tuple[list[str], list[str]]:
    return [task_id for task_id, _ in rows], [status for _, status in rows]


def _columns(ids: Iterable[str], statuses: Iterable[str]) -> _Columns:
    return keys_of(ids), np.array([STATUSES.index(status) for status in statuses], np.int8)


def _read(store: ObjectStore, key: str) -> tuple[int, _Columns]:
    table, size = read_with_size(store, key, ["task_id", "status"])
    return size, _columns(table["task_id"].to_pylist(), table["status"].to_pylist())


def _collected(keys: Sequence[str], found: Iterable[tuple[int, _Columns]]) -> Outcomes:
    sizes, lengths, ids, status = [], [], bytearray(), bytearray()
    for size, (mine, codes) in found:
        sizes.append(size)
        lengths.append(len(codes))
        ids += mine.tobytes()
        status += codes.tobytes()
    return Outcomes(
        parts=tuple(keys),
        sizes=tuple(sizes),
        lengths=tuple(lengths),
        ids=as_keys(ids),
        part=np.repeat(np.arange(len(lengths), dtype=np.int32), lengths),
        position=np.concatenate(
            [np.zeros(0, np.int32), *(np.arange(length, dtype=np.int32) for length in lengths)]
        ),
        status=np.array(np.frombuffer(status, np.int8)),
    )
