"""The mutants of many splits as arrays: what each shows, and the question about all of them.

A split cuts one box of a set in four, the set's other boxes held visible. Its *mutants* show a
subset of the four children beside what is held. All sixteen subsets have a place in the tables
here; those that are asked are the 14 non-empty proper ones, and the two ends only where their
answer is not known and some rule needs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from xaiserve.explainers.multirex.boxes import BoxNode, Cut
from xaiserve.perturb.query import Boxes, Scene

SUBSETS: Final = tuple(subset for size in (1, 2, 3) for subset in combinations(range(4), size))
"""The 14 mutants of a split, in the order in which ties are broken; the complement of mutant m is
mutant 13 - m."""

NONE: Final = len(SUBSETS)
"""Place of the mutant that shows what is held alone. Where it is not asked, it is taken to fail."""

ALL: Final = NONE + 1
"""Place of the uncut box. Where it is not asked, it is taken to pass."""

PLACES: Final = (*SUBSETS, (), (0, 1, 2, 3))

MEMBERS: Final = np.array([[child in subset for child in range(4)] for subset in PLACES])
"""(16, 4): which children each mutant shows."""

Table = NDArray[np.bool_]
"""(s, 16): a verdict per split and mutant."""


@dataclass(frozen=True, slots=True)
class Split:
    """One box of a set cut in four, the set's other boxes held visible.

    Parameters
    ----------
    iteration
        Number of the search it belongs to.
    sufficient
        Whether the box and what is held are known to pass together.
    """

    iteration: int
    node: BoxNode
    cut: Cut
    held: tuple[BoxNode, ...] = ()
    sufficient: bool = True

    def active(self, mutant: int) -> tuple[BoxNode, ...]:
        """Make the children that ``mutant`` shows."""
        return tuple(self.node.child(index, *self.cut) for index in PLACES[mutant])


class Round:
    """The mutants of some splits, ordered by split, then as in `PLACES`.

    Parameters
    ----------
    none
        Ask for what is held alone, where something is held.
    whole
        Ask for the uncut box and what is held, where that is not known to pass.

    Attributes
    ----------
    iteration, depth
        (s,): the search of each split; the depth of its children.
    corners
        (s, 4, 4): r0, r1, c0, c1 of each child.
    areas
        (s, 16): visible pixels of each mutant, what is held included.
    asked
        (s, 16): which mutants are asked.
    split, mutant
        (n,): the place in those tables of each row asked.
    boxes, row
        (m, 4) and (m,) ascending: the visible boxes and their rows.
    """

    def __init__(self, splits: Sequence[Split], *, none: bool, whole: bool) -> None:
        self.iteration = np.array([split.iteration for split in splits])
        self.depth = np.array([split.node.depth + 1 for split in splits])
        self.corners = _children(splits)
        counts = np.array([len(split.held) for split in splits])
        self._held = np.array(
            [box.corners for split in splits for box in split.held], dtype=np.int64
        ).reshape(-1, 4)
        self._first = np.cumsum(counts) - counts
        held = np.zeros(len(splits), dtype=np.int64)
        np.add.at(held, np.repeat(np.arange(len(splits)), counts), _areas(self._held))
        self.areas = _areas(self.corners) @ MEMBERS.T.astype(np.int64) + held[:, None]
        self.asked = np.ones((len(splits), len(PLACES)), dtype=bool)
        self.asked[:, NONE] = none & (counts > 0)
        self.asked[:, ALL] = whole & np.array([not split.sufficient for split in splits])
        self.split, self.mutant = np.nonzero(self.asked)
        self.boxes, self.row = self._visible(counts)

    def __len__(self) -> int:
        return len(self.split)

    def _visible(self, counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        own, child = map(np.ascontiguousarray, np.nonzero(MEMBERS[self.mutant]))
        boxes = self.corners[self.split[own], child]
        if not len(self._held):
            return boxes, own
        each = counts[self.split]
        row = np.repeat(np.arange(len(self)), each)
        within = np.arange(len(row)) - np.repeat(np.cumsum(each) - each, each)
        rows = np.concatenate([own, row])
        order = np.argsort(rows, kind="stable")
        beside = self._held[self._first[self.split[row]] + within]
        return np.concatenate([boxes, beside])[order], rows[order]

    def table(self, values: NDArray[np.bool_]) -> Table:
        """Put a verdict per row into a table; `NONE` fails and `ALL` passes where not asked."""
        found = np.zeros(self.asked.shape, dtype=bool)
        found[:, ALL] = True
        found[self.split, self.mutant] = values
        return found

    def query(self, scene: Scene) -> Boxes:
        """Ask for every row."""
        return Boxes(
            scene, torch.from_numpy(self.boxes), torch.from_numpy(self.row), rows=len(self)
        )


def _children(splits: Sequence[Split]) -> NDArray[np.int64]:
    """Compute the corners of the children, (s, 4, 4)."""
    ends = np.array([(*split.node.corners, *split.cut) for split in splits]).reshape(-1, 6)
    r0, r1, c0, c1, r, c = ends.T
    found = [(r0, r, c0, c), (r0, r, c, c1), (r, r1, c0, c), (r, r1, c, c1)]
    return np.array(found).transpose(2, 0, 1)


def _areas(boxes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count the pixels of boxes (..., 4)."""
    area: NDArray[np.int64] = (boxes[..., 1] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 2])
    return area
