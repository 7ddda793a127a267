"""Two complementary sets at once, where one minimal set would leave nothing for a second.

The first minimal set takes the one decisive region whole, and what is left flips. A partition that
shares the region mostly exists, but random boxes miss it. So both sides are searched together, on
a grid of cells: start from the partition of a search's first split that was nearest to passing, and
climb by random rectangles that are given to one side, taken from it, or exchanged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from xaiserve.explainers.multirex.mutants import SUBSETS
from xaiserve.explainers.multirex.pool import painted
from xaiserve.explainers.multirex.seen import SeenSets
from xaiserve.perturb.plan import Goal, QueryPlan, ask
from xaiserve.perturb.query import Mix, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Labels, Region

Cells = NDArray[np.bool_]
"""(g * g,): the cells of a side."""

GRID: Final = 28
"""Cells along a side of the picture: 8 pixels of 224."""

PROPOSALS: Final = 8
"""Pairs tried in one round."""

SIDES: Final = (12 / 224, 90 / 224)
"""Shortest and longest side of a proposed rectangle, as a share of the picture's."""

SECOND: Final = 0.05
"""Weight of the better side's margin: of two pairs with equal weaker sides it tells which has more
to give."""


PATIENCE: Final = 50
"""Rounds without a rise after which a climb is given up: where one region decides, none comes."""

CLOSE: Final = 1e-3
"""Heights nearer than this are compared by scores of batches of one."""


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """Two disjoint sets of cells and their slack; see `Goal.slack`."""

    left: Cells
    right: Cells
    slack: tuple[float, float] = (-np.inf, -np.inf)

    @property
    def passes(self) -> bool:
        return min(self.slack) > 0

    @property
    def height(self) -> float:
        """What climbing raises."""
        return min(self.slack) + SECOND * max(self.slack)


@dataclass(frozen=True, slots=True, eq=False)
class PairSearch:
    """Climbing on one picture.

    Parameters
    ----------
    rounds
        Most rounds from one start, `PROPOSALS` pairs each: 16 model inputs.
    """

    scene: Scene
    goal: Goal
    rounds: int

    def run(self, starts: Sequence[tuple[Region, Region]], keys: Keys) -> QueryPlan[
        tuple[Region, Region] | None
    ]:  # fmt: skip
        """Climb from each of ``starts`` in turn until both sides pass; none when none gets there.

        Costs two inputs per start, all asked at once, and 16 per round.
        """
        if not starts:
            return None
        labels = self._labels()
        pairs = [Pair(_cells(left, labels), _cells(right, labels)) for left, right in starts]
        best = sorted((yield from self._judged(pairs, labels)), key=lambda pair: -pair.height)
        for number, start in enumerate(best):
            end = yield from self._climb(start, keys.child("pair", number), labels)
            if end.passes:
                return _painted(end.left, labels), _painted(end.right, labels)
        return None

    def _climb(self, pair: Pair, keys: Keys, labels: Labels) -> QueryPlan[Pair]:
        side = int(np.sqrt(len(pair.left)))
        generator = keys.generator()
        idle = 0
        for _ in range(self.rounds):
            if pair.passes or idle == PATIENCE:
                break
            proposed = [_proposal(pair, side, generator) for _ in range(PROPOSALS)]
            judged = yield from self._judged(proposed, labels)
            highest = yield from self._highest([pair, *judged], labels)
            idle = 0 if highest.height > pair.height + CLOSE else idle + 1
            pair = highest
        return pair

    def _highest(self, pairs: Sequence[Pair], labels: Labels) -> QueryPlan[Pair]:
        """Pick the highest; those that company could reorder are asked again, alone."""
        top = max(pair.height for pair in pairs)
        close = [pair for pair in pairs if pair.height > top - CLOSE]
        if len(close) > 1:
            close = yield from self._judged(close, labels, alone=True)
        return max(close, key=lambda pair: pair.height)

    def _judged(
        self, pairs: Sequence[Pair], labels: Labels, *, alone: bool = False
    ) -> QueryPlan[list[Pair]]:
        keep = np.stack([side for pair in pairs for side in (pair.left, pair.right)])
        scores = yield from ask(Mix(self.scene, labels, torch.from_numpy(keep), alone))
        slack = self.goal.slack(scores).tolist()
        return [
            Pair(pair.left, pair.right, (slack[2 * i], slack[2 * i + 1]))
            for i, pair in enumerate(pairs)
        ]

    def _labels(self) -> Labels:
        height, width = self.scene.image.shape[1:]
        return grid(height, width, min(GRID, height, width))


def grid(height: int, width: int, cells: int) -> Labels:
    """Cut the picture in ``cells`` x ``cells`` rectangles, numbered row by row, (h, w)."""
    rows, columns = torch.arange(height) * cells // height, torch.arange(width) * cells // width
    return rows[:, None] * cells + columns


def root_partitions(
    seen: SeenSets, height: int, width: int, count: int
) -> list[tuple[Region, Region]]:
    """List the ``count`` partitions by first splits whose weaker side came nearest to passing."""
    columns = seen.columns
    roots = np.flatnonzero(columns.roots).reshape(-1, len(SUBSETS))
    half = len(SUBSETS) // 2
    margins = columns.margins[roots]
    weaker = np.minimum(margins[:, :half], margins[:, : half - 1 : -1])
    best = np.argsort(-weaker.ravel(), kind="stable")[:count]
    ends = np.concatenate([[0], np.cumsum(columns.count)])
    sides = []
    for search, subset in zip(*np.unravel_index(best, weaker.shape), strict=True):
        index = roots[search, subset]
        left = painted(columns.boxes[ends[index] : ends[index + 1]], height, width)
        sides.append((left, ~left))
    return sides


def _proposal(pair: Pair, side: int, generator: np.random.Generator) -> Pair:
    """Change a pair by one random rectangle."""
    while True:
        inside = _rectangle(side, generator)
        for left, right in _changed(pair, inside, int(generator.integers(5))):
            moved = bool((left != pair.left).any() or (right != pair.right).any())
            if moved and left.any() and right.any():
                return Pair(left, right)


def _changed(pair: Pair, inside: Cells, kind: int) -> Iterator[tuple[Cells, Cells]]:
    left, right = pair.left, pair.right
    if kind == 0:
        yield left | inside, right & ~inside
    elif kind == 1:
        yield left & ~inside, right | inside
    elif kind == 2:  # noqa: PLR2004 -- one of five
        yield np.where(inside, right, left), np.where(inside, left, right)
    elif kind == 3:  # noqa: PLR2004
        yield left & ~inside, right
    else:
        yield left, right & ~inside


def _rectangle(side: int, generator: np.random.Generator) -> Cells:
    """Draw a rectangle, its sides log-uniform, that meets the grid."""
    low, high = (np.log(share * side) for share in SIDES)
    tall, wide = np.maximum(1, np.rint(np.exp(generator.uniform(low, high, 2)))).astype(int)
    row, column = int(generator.integers(1 - tall, side)), int(generator.integers(1 - wide, side))
    cells = np.zeros((side, side), dtype=bool)
    cells[max(row, 0) : row + tall, max(column, 0) : column + wide] = True
    return cells.ravel()


def _cells(mask: Region, labels: Labels) -> Cells:
    """Find the cells of which a mask covers more than half, so that no cell is on two sides."""
    flat = labels.flatten().numpy()
    inside = np.bincount(flat, mask.flatten().numpy())
    found: Cells = 2 * inside > np.bincount(flat)
    return found


def _painted(cells: Cells, labels: Labels) -> Region:
    return torch.from_numpy(cells)[labels]
