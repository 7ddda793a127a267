"""The search for counterfactuals: every small set of segments is replaced by the contrast."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from xaiserve.explainers.clear_image.masks import foreground_sets, minimal, without
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.parts import SegmentSet
from xaiserve.explainers.clear_image.table import HALF, Asks, Table
from xaiserve.perturb.plan import Event, Found, Progress

ALWAYS: Final = 2
"""Sets of up to so many segments are tried in any case."""


@dataclass(frozen=True, slots=True, eq=False)
class Flipped(Event):
    """A counterfactual as it is found: segments, and the probability without them."""

    segments: SegmentSet
    p: float


class Grid:
    """The grid of one cut, as far as it was searched.

    Attributes
    ----------
    counterfactuals
        The minimal sets that flip the decision, each scored alone; by size, then by number.
    depth
        Most segments replaced together so far.
    """

    def __init__(self, table: Table, options: ClearOptions) -> None:
        self._table = table
        self._options = options
        self._parity = options.mode == "parity"
        self.counterfactuals: tuple[SegmentSet, ...] = ()
        self.depth = 0

    def begin(self) -> Asks:
        """Replace single segments and pairs."""
        yield from self._search(min(ALWAYS, self._options.depth))

    def deepen(self) -> Asks:
        """Replace triples, then sets of four, while nothing flips; stops where all are replaced."""
        for size in range(ALWAYS + 1, self._options.depth + 1):
            if self._flipped() or size >= self._table.segments:
                return
            yield from self._search(size)

    def _search(self, depth: int) -> Asks:
        table = self._table
        sets = [
            each for size in self._sizes(depth) for each in foreground_sets(table.segments, size)
        ]
        yield from table.ask(without(sets, table.segments))
        self.depth = depth
        yield Progress("counterfactuals", depth, self._options.depth)
        yield from self._confirm()

    def _sizes(self, depth: int) -> range:
        return range(self.depth + 1, depth + 1)

    def _confirm(self) -> Asks:
        """Score what is to be released alone; what does not flip then is dropped."""
        while True:
            found = self._minimal()
            masks = without(found, self._table.segments)
            yield from self._table.confirm(masks)
            if self._minimal() == found:
                break
        fresh = [each for each in found if each not in self.counterfactuals]
        self.counterfactuals = tuple(found)
        for each, p in zip(fresh, self._table.p(without(fresh, self._table.segments)), strict=True):
            yield Found(Flipped(each, float(p)))

    def _minimal(self) -> list[SegmentSet]:
        table = self._table
        sets = self._tried()
        masks = without(sets, table.segments)
        whole = np.ones((1, table.segments), dtype=np.bool_)
        flips = table.keeps(masks) != table.keeps(whole)
        return minimal(
            [each for each, flip in zip(sets, flips, strict=True) if flip], parity=self._parity
        )

    def _flipped(self) -> bool:
        """Say whether anything flips; parity looks for probabilities below 0.5 alone."""
        if not self._parity:
            return bool(self.counterfactuals)
        p = self._table.p(without(self._tried(), self._table.segments))
        return bool((p < HALF).any())

    def _tried(self) -> list[SegmentSet]:
        sizes = range(1, self.depth + 1)
        return [each for size in sizes for each in foreground_sets(self._table.segments, size)]
