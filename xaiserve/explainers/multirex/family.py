"""Choosing the family: the most sets whose pairwise overlap stays within a bound.

Section 5 of the method. Sets are compared as packed bits, 6 kB each at 224 x 224 pixels.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from xaiserve.types import Region

EXACT_UP_TO: Final = 64
"""Above this many different sets the search is greedy and the result says so. Random graphs of that
size took up to 0.3 s (the worst have about 8 conflicts per set)."""

_WORD_BYTES: Final = 8


def dice_matrix(masks: Sequence[Region]) -> Float32[Tensor, "n n"]:
    """Dice(A, B) = 2 |A & B| / (|A| + |B|) of every pair; 0 when both are empty."""
    return torch.from_numpy(_dice(_packed(masks)).astype(np.float32))


def select_family(masks: Sequence[Region], overlap: float) -> tuple[tuple[int, ...], bool]:
    """Pick the largest family with pairwise Dice of at most ``overlap``.

    Empty sets and later duplicates never enter. Among the largest families the one of smallest
    total area wins, then the lexicographically first.

    Returns
    -------
    selected
        Ascending indices into ``masks``.
    exact
        False when there were more than 64 candidates and the search was greedy.
    """
    packed = _packed(masks)
    candidates = _distinct(packed)
    bits = packed[candidates]
    areas = [int(area) for area in _areas(bits)]
    clash = _dice(bits) > overlap
    np.fill_diagonal(clash, val=False)
    conflicts = [int.from_bytes(row.tobytes(), "little") for row in _little(clash)]
    exact = len(candidates) <= EXACT_UP_TO
    chosen = independent_set(areas, conflicts) if exact else greedy_set(areas, conflicts)
    return tuple(candidates[i] for i in chosen), exact


def _packed(masks: Sequence[Region]) -> NDArray[np.uint64]:
    """Pack each mask into words, (n, w)."""
    rows = [_little(mask.numpy().reshape(1, -1))[0] for mask in masks]
    width = max((len(row) for row in rows), default=0)
    padded = np.zeros((len(rows), -(-width // _WORD_BYTES) * _WORD_BYTES), dtype=np.uint8)
    for row, packed in zip(padded, rows, strict=True):
        row[: len(packed)] = packed
    return padded.view(np.uint64)


def _little(rows: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.packbits(rows, axis=1, bitorder="little")


def _areas(packed: NDArray[np.uint64]) -> NDArray[np.int64]:
    areas: NDArray[np.int64] = np.bitwise_count(packed).sum(axis=1, dtype=np.int64)
    return areas


def _dice(packed: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Compare all pairs a row at a time, so that memory stays that of the sets."""
    areas = _areas(packed)
    common = np.zeros((len(packed), len(packed)), dtype=np.int64)
    for index, row in enumerate(packed):
        common[index] = _areas(packed & row)
    dice: NDArray[np.float64] = 2 * common / np.maximum(areas[:, None] + areas, 1)
    return dice


def _distinct(packed: NDArray[np.uint64]) -> list[int]:
    """List the first of each group of equal sets, the empty one left out."""
    first: dict[bytes, int] = {}
    for index, row in enumerate(packed):
        if row.any():
            first.setdefault(row.tobytes(), index)
    return list(first.values())


def independent_set(areas: Sequence[int], conflicts: Sequence[int]) -> tuple[int, ...]:
    """Solve maximum independent set exactly, then minimum area, then first in lexicographic order.

    ``conflicts[i]`` is a bit set of the vertices that i clashes with. The three aims are one
    weight per vertex, so that the heaviest independent set is unique; see `_Heaviest`.
    """
    n, more_than_all = len(areas), sum(areas) + 1
    # A vertex counts more than all areas together; of equal areas the lower index counts more than
    # all higher ones together.
    weights = [((more_than_all - area) << n) + (1 << (n - 1 - i)) for i, area in enumerate(areas)]
    order = sorted(range(n), key=lambda i: -weights[i])
    place = {vertex: at for at, vertex in enumerate(order)}
    around = [sum(1 << place[j] for j in _bits(conflicts[i])) for i in order]
    chosen = _Heaviest([weights[i] for i in order], around).within((1 << n) - 1, -1)
    assert chosen is not None  # noqa: S101 -- the empty set weighs 0
    return tuple(sorted(order[at] for at in _bits(chosen)))


class _Heaviest:
    """Branch and bound for the heaviest independent set, on bit sets.

    Branches on the vertex of most conflicts, in or out; what falls apart is solved apart. The bound
    covers the graph with cliques: an independent set takes at most one vertex of each.

    Parameters
    ----------
    weights
        Positive, descending.
    around
        Per vertex the bit set of those it clashes with.
    """

    def __init__(self, weights: Sequence[int], around: Sequence[int]) -> None:
        self._weights = weights
        self._around = around

    def within(self, left: int, floor: int) -> int | None:
        """Return the heaviest independent subset of ``left``, if heavier than ``floor``."""
        if self._bound(left) <= floor:
            return None
        parts = _components(left, self._around)
        return self._apart(parts, floor) if len(parts) != 1 else self._branch(left, floor)

    def _branch(self, left: int, floor: int) -> int | None:
        if left & (left - 1) == 0:
            return left
        pick = max(_bits(left), key=lambda i: (self._around[i] & left).bit_count())
        others, best = left & ~(1 << pick), None
        taken = self.within(others & ~self._around[pick], floor - self._weights[pick])
        if taken is not None:
            best = taken | 1 << pick
            floor = self._weigh(best)
        heavier = self.within(others, floor)
        return best if heavier is None else heavier

    def _apart(self, parts: Sequence[int], floor: int) -> int | None:
        """Solve each part; the others can at most reach their bounds."""
        bounds = [self._bound(part) for part in parts]
        found, reach = 0, sum(bounds)
        for part, bound in zip(parts, bounds, strict=True):
            best = self.within(part, floor - (reach - bound))
            if best is None:
                return None
            found |= best
            reach += self._weigh(best) - bound
        return found

    def _bound(self, left: int) -> int:
        """Add up the heaviest vertex of each clique of a greedy cover."""
        total = 0
        while left:
            lowest = left & -left
            total += self._weights[lowest.bit_length() - 1]
            clique = left
            while clique:
                member = clique & -clique
                left &= ~member
                clique &= self._around[member.bit_length() - 1]
        return total

    def _weigh(self, vertices: int) -> int:
        return sum(self._weights[i] for i in _bits(vertices))


def greedy_set(areas: Sequence[int], conflicts: Sequence[int]) -> tuple[int, ...]:
    """Find a large independent set of small area, with no promise that it is the largest.

    Takes vertices by fewest conflicts left, then smallest area; then exchanges one vertex for two,
    or for one of smaller area, as long as that is possible.
    """
    chosen = _filled(0, areas, conflicts)
    while (better := _exchanged(chosen, areas, conflicts)) is not None:
        chosen = _filled(better, areas, conflicts)
    return tuple(_bits(chosen))


def _filled(chosen: int, areas: Sequence[int], conflicts: Sequence[int]) -> int:
    """Add vertices to ``chosen`` until every other one clashes with it."""
    left = sum(1 << i for i, around in enumerate(conflicts) if not around & chosen) & ~chosen
    while left:
        pick = min(_bits(left), key=lambda i: ((conflicts[i] & left).bit_count(), areas[i], i))
        chosen |= 1 << pick
        left &= ~conflicts[pick] & ~(1 << pick)
    return chosen


def _exchanged(chosen: int, areas: Sequence[int], conflicts: Sequence[int]) -> int | None:
    """Exchange one vertex for two, else one for a smaller one; none when neither is possible."""
    rivals: dict[int, list[int]] = {i: [] for i in _bits(chosen)}
    for i in sorted(range(len(areas)), key=lambda i: (areas[i], i)):
        clash = conflicts[i] & chosen
        if clash.bit_count() == 1 and not chosen >> i & 1:
            rivals[clash.bit_length() - 1].append(i)
    smaller = None
    for out, into in rivals.items():
        kept = chosen & ~(1 << out)
        for at, one in enumerate(into):
            two = next((other for other in into[at + 1 :] if not conflicts[one] >> other & 1), None)
            if two is not None:
                return kept | 1 << one | 1 << two
        if into and areas[into[0]] < areas[out] and smaller is None:
            smaller = kept | 1 << into[0]
    return smaller


def _bits(word: int) -> Iterator[int]:
    while word:
        lowest = word & -word
        yield lowest.bit_length() - 1
        word ^= lowest


def _components(left: int, conflicts: Sequence[int]) -> list[int]:
    """Split ``left`` into bit sets that no conflict connects."""
    found = []
    while left:
        part, edge = 0, left & -left
        while edge:
            part |= edge
            reached = 0
            for i in _bits(edge):
                reached |= conflicts[i]
            edge = reached & left & ~part
        found.append(part)
        left &= ~part
    return found
