"""From rewarded boxes to maps.

Rewards are kept as (box, whole number) lists per search and class, and painted once at the end, in
the order of the searches: the map does not depend on who ran them, or when.
"""

from typing import Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from xaiserve.types import Saliency

Merge = Literal["multiplicative", "additive"]

SPAN: Final = 80.0
"""Largest ratio, as a logarithm, of two values of a map: float32 holds 87 without loss."""

Numbers = NDArray[np.int64]
Total = NDArray[np.float64]
"""(h, w): the sum over searches of log(1 + S), or of S; adds up from any partition of them."""


class Ledger:
    """The rewards that searches have given, per class.

    Parameters
    ----------
    unit
        The whole number that stands for a reward of 1.
    """

    def __init__(self, height: int, width: int, unit: int) -> None:
        self.height, self.width, self.unit = height, width, unit
        self._entries: list[NDArray[np.int64]] = []

    def add(self, iteration: Numbers, label: Numbers, boxes: Numbers, rewards: Numbers) -> None:
        """Note ``rewards`` (m,) for ``boxes`` (m, 4), by search and class (m,) each."""
        some = rewards > 0
        if some.any():
            entry = np.column_stack([iteration, label, boxes, rewards])[some]
            self._entries.append(entry)

    def extend(self, other: "Ledger") -> None:
        """Add the rewards of other searches of the same image."""
        self._entries.extend(other._entries)  # noqa: SLF001 -- its own class

    def labels(self) -> list[int]:
        """List the classes that were rewarded, ascending."""
        return sorted({int(label) for entry in self._entries for label in np.unique(entry[:, 1])})

    def total(self, label: int, merge: Merge) -> Total:
        """Add up the searches' maps S of a class: log(1 + S) of each, or S, in their order."""
        total = np.zeros((self.height, self.width))
        if not self._entries:
            return total
        entries = np.concatenate(self._entries)
        entries = entries[entries[:, 1] == label]
        for iteration in np.unique(entries[:, 0]):
            mine = entries[entries[:, 0] == iteration]
            painted = rasterise(mine[:, 2:6], mine[:, 6], self.height, self.width) / self.unit
            total += np.log1p(painted) if merge == "multiplicative" else painted
        return total


def normalised(total: Total, merge: Merge) -> Total:
    """Turn a total into a map whose largest value is 1; all zero when nothing was rewarded.

    Multiplicative: M = prod_i (1 + S_i) / max, summed as logarithms; a root of it when it spans
    more than ``exp(SPAN)``, so that the order of small values survives in float32.
    Additive: M = sum_i S_i / max.
    """
    if not total.any():
        return total
    most = float(total.max())
    if merge == "additive":
        return total / most
    below = total - most
    scale = SPAN / max(SPAN, -float(below.min()))
    found: Total = np.exp(below * scale)
    return found


def merged(ledger: Ledger, label: int, merge: Merge, *, negative: bool = False) -> Saliency:
    """Merge the searches into the map of class ``label`` (h, w).

    With ``negative``, the maps of all other classes that mutants were given are subtracted
    (multiplicative: each with largest value 1), and the map may go below zero.
    """
    total = ledger.total(label, merge)
    found = normalised(total, merge)
    if negative and total.any():
        scale = None if merge == "multiplicative" else float(total.max())
        for other in ledger.labels():
            if other != label:
                less = ledger.total(other, merge)
                found = found - (normalised(less, merge) if scale is None else less / scale)
    return torch.from_numpy(found.astype(np.float32))


def rasterise(boxes: Numbers, rewards: Numbers, height: int, width: int) -> Numbers:
    """Add ``rewards`` over their boxes, (h, w): corner differences, then two running sums."""
    corners = np.zeros((height + 1, width + 1), dtype=np.int64)
    r0, r1, c0, c1 = boxes.T
    for rows, columns, sign in ((r0, c0, 1), (r0, c1, -1), (r1, c0, -1), (r1, c1, 1)):
        np.add.at(corners, (rows, columns), sign * rewards)
    summed: Numbers = corners.cumsum(axis=0).cumsum(axis=1)[:height, :width]
    return summed
