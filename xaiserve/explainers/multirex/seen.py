"""The visible sets that a search has seen, kept for those who look for families among them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override


@dataclass(frozen=True, slots=True, eq=False)
class SeenSet:
    """One visible set and its verdict.

    Parameters
    ----------
    boxes
        (m, 4) r0, r1, c0, c1 of the disjoint boxes that were visible; some may be empty.
    area
        Their pixels.
    margin
        `xaiserve.models.spec.Rule.log_margins` of its scores.
    passes
        It keeps the label, at the share of confidence that the search asks for.
    root
        It is one of the 14 mutants of a search's first split. Those come one after the other in the
        order of `mutants.SUBSETS`: number i and number 13 - i are complements.
    """

    boxes: NDArray[np.int32]
    area: int
    margin: float
    passes: bool
    root: bool


@dataclass(frozen=True, slots=True, eq=False)
class Sightings:
    """The sets of one round: the boxes of all of them, and a column per field of `SeenSet`.

    ``count`` (n,) says how many of ``boxes`` (m, 4) belong to each.
    """

    boxes: NDArray[np.int32]
    count: NDArray[np.int32]
    areas: NDArray[np.int32]
    margins: NDArray[np.float32]
    passes: NDArray[np.bool_]
    roots: NDArray[np.bool_]


class SeenSets(Sequence[SeenSet]):
    """Visible sets in the order in which they were seen; 14 bytes each and 16 per box.

    With a fill that changes from search to search, each was seen over its own search's fill.
    """

    def __init__(self) -> None:
        self._parts = [
            Sightings(
                np.zeros((0, 4), np.int32),
                np.zeros(0, np.int32),
                np.zeros(0, np.int32),
                np.zeros(0, np.float32),
                np.zeros(0, np.bool_),
                np.zeros(0, np.bool_),
            )
        ]
        self._ends = np.zeros(1, dtype=np.int64)

    def add(self, part: Sightings) -> None:
        self._parts.append(part)

    @property
    def columns(self) -> Sightings:
        """All of them as arrays, in order."""
        if len(self._parts) > 1:
            names = [field.name for field in fields(Sightings)]
            one = [np.concatenate([getattr(part, name) for part in self._parts]) for name in names]
            self._parts = [Sightings(*one)]
            self._ends = np.cumsum([0, *self._parts[0].count])
        return self._parts[0]

    @override
    def __len__(self) -> int:
        return sum(len(part.count) for part in self._parts)

    @overload
    def __getitem__(self, index: int) -> SeenSet: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[SeenSet]: ...

    @override
    def __getitem__(self, index: int | slice) -> SeenSet | Sequence[SeenSet]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"seen set {index} of {len(self)}")
        columns = self.columns
        at = index % len(self)
        return SeenSet(
            boxes=columns.boxes[self._ends[at] : self._ends[at + 1]],
            area=int(columns.areas[at]),
            margin=float(columns.margins[at]),
            passes=bool(columns.passes[at]),
            root=bool(columns.roots[at]),
        )
