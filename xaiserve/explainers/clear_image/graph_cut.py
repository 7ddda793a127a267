"""The first pass of Felzenszwalb's graph cut, many edges at a time.

P. F. Felzenszwalb, D. P. Huttenlocher, *Efficient Graph-Based Image Segmentation*, IJCV 2004,
algorithm 1: edges in the order of their cost, each of which merges two parts if it costs less than
either's bound, its dearest edge plus ``scale`` over its area.

Why many at a time is the same as one by one:

1. An edge without cost always merges.
2. A part that refuses an edge refuses all that follow: they cost no less, and its bound moves only
   when it merges. Its edges can be forgotten.
3. An edge that comes first among the rest at both of its ends meets both parts as they will be
   when it is its turn.

Deviation from scikit-image: edges of equal cost follow the order of their list, where its order is
that of numpy's unstable sort and depends on the processor. Costs are rounded to 1/65535 of the
largest there can be, so that not rounding errors order the equal steps of an 8-bit picture.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64, UInt16
from scipy import sparse

Picture = Float64[np.ndarray, "h w c"]
Ends = Int32[np.ndarray, "edges 2"]
Costs = Float64[np.ndarray, " edges"]

LEVELS: Final = 65535
CHUNK: Final = 8000
"""Edges looked at together: later ones are mostly inside a part by their turn."""

FEW: Final = 600
"""Edges left for which a loop is faster than rounds."""

STALLED: Final = 0.9
"""A round that leaves more than this share of the edges is the last."""


def edges(picture: Picture) -> tuple[Costs, Ends]:
    """List what joins neighbouring pixels (of 8): right, down, down-right, up-right."""
    height, width, _ = picture.shape
    pixels = np.arange(height * width, dtype=np.int32).reshape(height, width)
    everything, tail, head = slice(None), slice(1, None), slice(None, -1)
    steps: list[tuple[Any, Any]] = [
        ((everything, tail), (everything, head)),
        ((tail, everything), (head, everything)),
        ((tail, tail), (head, head)),
        ((head, tail), (tail, head)),
    ]
    costs, ends = [], []
    for here, there in steps:
        costs.append(np.sqrt(((picture[here] - picture[there]) ** 2).sum(axis=-1)).ravel())
        ends.append(np.stack([pixels[here].ravel(), pixels[there].ravel()], axis=1))
    return np.concatenate(costs), np.concatenate(ends)


def fine_cut(
    picture: Picture, scale: float, *, chunk: int = CHUNK, few: int = FEW
) -> tuple[Int64[np.ndarray, "h w"], Ends]:
    """Cut ``picture`` by algorithm 1.

    Parameters
    ----------
    chunk, few
        Edges looked at together, and so few that a loop takes over; they decide the time alone.

    Returns
    -------
    tuple
        Numbers (h, w) from 0 without gaps, and the edges between parts, the cheapest first.
    """
    height, width, channels = picture.shape
    costs, ends = edges(picture)
    level = np.sqrt(channels) / LEVELS
    levels: UInt16[np.ndarray, " edges"] = np.rint(costs / level).astype(np.uint16)
    # Throughout, take and compress cost a tenth of the same by index.
    flat = _joined(ends.compress(levels == 0, axis=0), height * width)
    dear = np.flatnonzero(levels)

    # Numpy sorts 16-bit integers by radix, in a tenth of the time.
    order = dear[np.argsort(levels[dear], kind="stable")]
    ends, costs = flat.take(ends.take(order, axis=0)), levels[order] * level
    # scikit-image's scale is for pictures from 0 to 255.
    parts = _Parts.of(np.bincount(flat).astype(np.float64), scale / 255)
    for start in range(0, len(order), chunk):
        parts.merge(ends[start : start + chunk], costs[start : start + chunk], few)
    number = consecutive(parts.roots())
    ends = number.astype(np.int32).take(ends)
    between = ends.compress(ends[:, 0] != ends[:, 1], axis=0)
    return number[flat].reshape(height, width), between


def consecutive(roots: Int32[np.ndarray, " nodes"]) -> Int64[np.ndarray, " nodes"]:
    """Count the roots from 0; a root is its own root."""
    return np.asarray((np.cumsum(roots == np.arange(len(roots))) - 1)[roots])


def _joined(ends: Ends, count: int) -> Int32[np.ndarray, " nodes"]:
    """Find the connected parts of a graph, and give each a number."""
    graph = sparse.coo_array((np.ones(len(ends), dtype=np.int8), ends.T), shape=(count, count))
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """Parts that merge; each is known by one of its nodes, its root.

    Parameters
    ----------
    bound
        What an edge must cost less than, right at roots.
    closed
        Those that have refused an edge, right at roots.
    """

    scale: float
    parent: Int32[np.ndarray, " nodes"]
    area: Float64[np.ndarray, " nodes"]
    bound: Float64[np.ndarray, " nodes"]
    closed: Bool[np.ndarray, " nodes"]

    @classmethod
    def of(cls, area: Float64[np.ndarray, " nodes"], scale: float) -> "_Parts":
        nodes = np.arange(len(area), dtype=np.int32)
        return cls(scale, nodes, area, scale / area, np.zeros(len(area), dtype=np.bool_))

    def roots(self) -> Int32[np.ndarray, " nodes"]:
        while (self.parent != (above := self.parent[self.parent])).any():
            self.parent[:] = above
        return self.parent

    def merge(self, ends: Ends, costs: Costs, few: int) -> None:
        """Let ``ends`` have their turn; they are in order, and none before them is left."""
        ends, costs = self._open(self.roots().take(ends), costs)
        while len(costs) > few:
            before = len(costs)
            self._merge_firsts(ends, costs)
            ends, costs = self._open(self.parent.take(ends), costs)
            if len(costs) > STALLED * before:
                break
        self._merge_in_turn(ends, costs)

    def _open(
        self, ends: Ends, costs: Costs
    ) -> tuple[Int32[np.ndarray, "kept 2"], Float64[np.ndarray, " kept"]]:
        """Keep edges between different parts that have not refused one."""
        one, other = ends.T
        kept = (one != other) & ~(self.closed.take(one) | self.closed.take(other))
        return ends.compress(kept, axis=0), costs.compress(kept)

    def _merge_firsts(self, ends: Ends, costs: Costs) -> None:
        """Take the edges that come first at either of their ends."""
        index = np.arange(len(ends), dtype=np.int32)
        first = np.empty(len(self.parent), dtype=np.int32)
        # Of equal indices the last is written.
        first[ends[::-1].ravel()] = np.repeat(index[::-1], 2)
        comes_first = first.take(ends) == index[:, None]
        refused = comes_first & (costs[:, None] >= self.bound.take(ends))
        self.closed[ends[refused]] = True
        accepted = comes_first & ~refused
        joins = np.flatnonzero(accepted[:, 0] & accepted[:, 1])
        one, other = ends.take(joins, axis=0).T
        self.parent[other] = one
        self.area[one] += self.area[other]
        self.bound[one] = costs[joins] + self.scale / self.area[one]

    def _merge_in_turn(self, ends: Ends, costs: Costs) -> None:
        """Take the edges one by one, among lists, whose items are had faster than an array's."""
        known, local = np.unique(ends, return_inverse=True)
        parent, scale = list(range(len(known))), self.scale
        area, bound = self.area[known].tolist(), self.bound[known].tolist()
        for (one, other), cost in zip(local.reshape(-1, 2).tolist(), costs.tolist(), strict=True):
            # Twice the same loop: a function's call would cost more than what it does.
            left, right = one, other
            while parent[left] != left:
                parent[left] = left = parent[parent[left]]
            while parent[right] != right:
                parent[right] = right = parent[parent[right]]
            if left != right and cost < bound[left] and cost < bound[right]:
                parent[right] = left
                area[left] += area[right]
                bound[left] = cost + scale / area[left]
        self.parent[known] = known[parent]
        self.area[known], self.bound[known] = area, bound
