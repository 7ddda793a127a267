"""Disjoint sets among those that a search has already seen to pass: they cost no model input."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from xaiserve.explainers.multirex.seen import SeenSets
from xaiserve.types import Region

KEPT: Final = 256
"""Smallest passing sets that are compared with each other."""


class Pool:
    """The smallest sets of boxes that passed, by area.

    Parameters
    ----------
    seen
        What a responsibility search has asked.
    height, width
        Size of the picture.
    """

    def __init__(self, seen: SeenSets, height: int, width: int) -> None:
        columns = seen.columns
        self._shape = height, width
        passing = np.flatnonzero(columns.passes & (columns.areas < height * width))
        order = passing[np.argsort(columns.areas[passing], kind="stable")][:KEPT]
        ends = np.concatenate([[0], np.cumsum(columns.count)])
        self._boxes = [columns.boxes[ends[i] : ends[i + 1]] for i in order]
        self._areas = columns.areas[order]

    def __len__(self) -> int:
        return len(self._boxes)

    def pairs(self) -> Iterator[tuple[Region, Region]]:
        """Yield disjoint pairs, smaller set first, in the order of the larger one's area."""
        if len(self) < 2:  # noqa: PLR2004 -- a pair
            return
        apart = self._apart()
        for larger in range(1, len(self)):
            for smaller in np.flatnonzero(apart[larger, :larger]):
                yield self._mask(int(smaller)), self._mask(larger)

    def beside(self, used: Region) -> Iterator[Region]:
        """Yield the sets that share no pixel with ``used``, by area."""
        inside = used.numpy().astype(np.int64).cumsum(axis=0).cumsum(axis=1)
        sums = np.pad(inside, ((1, 0), (1, 0)))
        for index, boxes in enumerate(self._boxes):
            r0, r1, c0, c1 = boxes.T
            if not (sums[r1, c1] - sums[r0, c1] - sums[r1, c0] + sums[r0, c0]).any():
                yield self._mask(index)

    def _apart(self) -> NDArray[np.bool_]:
        """Say which sets share no pixel, (n, n): no box of one meets a box of the other."""
        r0, r1, c0, c1 = np.concatenate(self._boxes).T
        solid = (r1 > r0) & (c1 > c0)
        down = np.minimum.outer(r1, r1) > np.maximum.outer(r0, r0)
        across = np.minimum.outer(c1, c1) > np.maximum.outer(c0, c0)
        meet = down & across & solid & solid[:, None]
        starts = np.cumsum([0, *map(len, self._boxes[:-1])])
        rows = np.logical_or.reduceat(meet, starts, axis=0)
        apart: NDArray[np.bool_] = ~np.logical_or.reduceat(rows, starts, axis=1)
        return apart

    def _mask(self, index: int) -> Region:
        return painted(self._boxes[index], *self._shape)


def painted(boxes: NDArray[np.int32], height: int, width: int) -> Region:
    """Paint boxes (m, 4) r0, r1, c0, c1 on a mask (height, width)."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    for r0, r1, c0, c1 in boxes.tolist():
        mask[r0:r1, c0:c1] = True
    return mask
