"""Boxes, and where they are cut.

A box is half-open, ``[r0, r1) x [c0, c1)``; its children are numbered 0 top left, 1 top right,
2 bottom left, 3 bottom right, and partition it. A box is named by its path from the root ``R``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, gammaln

from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.perturb.rng import Keys

_UNIFORM_BITS: Final = 53


@dataclass(frozen=True, slots=True)
class BoxNode:
    """A rectangle ``[r0, r1) x [c0, c1)`` and its place in one iteration's tree."""

    r0: int
    r1: int
    c0: int
    c1: int
    path: str = "R"
    depth: int = 0

    @property
    def area(self) -> int:
        return (self.r1 - self.r0) * (self.c1 - self.c0)

    @property
    def corners(self) -> tuple[int, int, int, int]:
        return (self.r0, self.r1, self.c0, self.c1)

    def child(self, index: int, row: int, column: int) -> "BoxNode":
        """Make child ``index`` of a cut above ``row`` and left of ``column``."""
        r0, r1 = (row, self.r1) if index & 2 else (self.r0, row)
        c0, c1 = (column, self.c1) if index & 1 else (self.c0, column)
        return BoxNode(r0, r1, c0, c1, f"{self.path}:{index}", self.depth + 1)


Cut = tuple[int, int]
"""The first row of the lower children and the first column of the right ones."""

Splitter = Callable[[int, BoxNode], Cut | None]
"""Say where iteration i cuts a box; none when the box is not cut. Equal questions have equal
answers. All cuts of a search come from here, so that recorded ones can be put in their place."""


def make_splitter(options: MultiRexOptions, keys: Keys) -> Splitter:
    """Draw cuts as ``options`` say, from a counter-based source keyed by iteration and path.

    A cut leaves no child empty. A box is not cut when it is thinner than two pixels, smaller than
    ``min_box_area`` or as deep as ``tree_depth``.
    """

    def cut(iteration: int, node: BoxNode) -> Cut | None:
        tall, wide = node.r1 - node.r0, node.c1 - node.c0
        if min(tall, wide) < 2 or tall * wide < options.min_box_area:  # noqa: PLR2004
            return None
        if node.depth >= options.tree_depth:
            return None
        key = keys.child("split", iteration).child(node.path)
        if options.split == "uniform":
            down, right = key.below(tall - 1, wide - 1)
            return node.r0 + 1 + down, node.c0 + 1 + right
        shapes = (options.alpha, options.beta)
        words = key.below(1 << _UNIFORM_BITS, 1 << _UNIFORM_BITS)
        down, right = (
            int(np.searchsorted(cumulative(side, *shapes), word / (1 << _UNIFORM_BITS), "right"))
            for side, word in zip((tall, wide), words, strict=True)
        )
        return node.r0 + 1 + down, node.c0 + 1 + right

    return cut


@lru_cache(maxsize=1024)
def cumulative(side: int, alpha: float, beta: float) -> NDArray[np.float64]:
    """Sum the chances of the offsets 1 .. ``side`` - 1 of a beta-binomial of ``side`` trials.

    Offsets 0 and ``side``, which would leave a child empty, are drawn again: left out and the rest
    rescaled. The last sum is 1.
    """
    k = np.arange(1, side)
    choices = gammaln(side + 1) - gammaln(k + 1) - gammaln(side - k + 1)
    chances = np.exp(choices + betaln(k + alpha, side - k + beta) - betaln(alpha, beta))
    sums: NDArray[np.float64] = np.cumsum(chances)
    return sums / float(sums[-1])
