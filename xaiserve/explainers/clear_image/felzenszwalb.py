"""Felzenszwalb's graph cut with ever larger smallest parts, cut once and merged many times.

P. F. Felzenszwalb, D. P. Huttenlocher, *Efficient Graph-Based Image Segmentation*, IJCV 2004. The
first pass does not know the smallest size; the second, which merges what is smaller along the
cheapest edges, needs of all edges only those of the cheapest tree.
"""

from bisect import bisect_left
from functools import cache
from typing import Final

import numpy as np
from jaxtyping import Bool, Int64
from scipy import sparse
from skimage import segmentation

from xaiserve.explainers.clear_image.graph_cut import Ends, Picture, consecutive, edges, fine_cut

Parts = Int64[np.ndarray, "h w"]
Inside = Bool[np.ndarray, "h w"]
Numbering = Int64[np.ndarray, " parts"]

STEP_PX: Final = 25
"""What the smallest size grows by."""


def coarsened(
    picture: Picture,
    most: int,
    scale: float,
    min_area_px: int,
    *,
    within: Inside | None = None,
    parity: bool = False,
) -> tuple[Parts, int]:
    """Cut ``picture``, the smallest size growing by 25 until there are at most ``most`` parts.

    Parameters
    ----------
    within
        (h, w) Count the parts that have a pixel here alone.
    parity
        Leave the first pass to scikit-image, and try every size in turn, as published; else the
        first pass is ours, in a third of the time, and the size is found by bisection. It is the
        same one if no larger size gives more parts.

    Returns
    -------
    tuple
        Numbers (h, w) from 0 without gaps, and the smallest size in the end.
    """
    fine, ends = _published(picture, scale) if parity else fine_cut(picture, scale)
    areas = np.bincount(fine.ravel()).tolist()
    tree = _cheapest_tree(ends, len(areas))
    counted = np.arange(len(areas)) if within is None else np.unique(fine[within])

    @cache
    def merged(step: int) -> Numbering:
        return _merged(areas, tree, min_area_px + step * STEP_PX)

    def fits(step: int) -> bool:
        return len(np.unique(merged(step)[counted])) <= most

    # As every part has the smallest size, there is one from which they must be few enough.
    surely = max(0, fine.size // (most + 1) + 1 - min_area_px)
    steps = range(-(-surely // STEP_PX))
    step = next(filter(fits, steps), len(steps)) if parity else bisect_left(steps, True, key=fits)
    return np.asarray(merged(step)[fine]), min_area_px + step * STEP_PX


def _published(picture: Picture, scale: float) -> tuple[Parts, Ends]:
    """Cut by scikit-image; list the edges between parts, the cheapest first."""
    fine = segmentation.felzenszwalb(picture, scale=scale, sigma=0, min_size=1)
    costs, ends = edges(picture)
    ends = fine.ravel()[ends].astype(np.int32)
    apart = ends[:, 0] != ends[:, 1]
    order = np.argsort(costs[apart], kind="stable")
    return np.asarray(fine, dtype=np.int64), ends[apart][order]


def _cheapest_tree(ends: Ends, count: int) -> list[list[int]]:
    """Drop edges whose ends earlier ones connect: by then one side would be large enough, or both.

    What keeps a path of earlier edges from merging is two large parts on it, and parts never
    shrink.
    """
    low, high = np.minimum(*ends.T), np.maximum(*ends.T)

    # Sorted by radix while numbers have 16 bits.
    number = np.min_scalar_type(count)
    alike = np.lexsort((high.astype(number), low.astype(number)))
    one, other = low.take(alike), high.take(alike)
    new = np.append(True, (np.diff(one) != 0) | (np.diff(other) != 0))[: len(alike)]
    one, other, first = one.compress(new), other.compress(new), alike.compress(new)

    # Places in the order are distinct costs, and 0 would be no edge.
    graph = sparse.coo_array((first + 1.0, (one, other)), shape=(count, count))
    tree = sparse.csgraph.minimum_spanning_tree(graph)
    kept = np.sort(tree.data).astype(np.int64) - 1
    pairs: list[list[int]] = np.stack([low[kept], high[kept]], axis=1).tolist()
    return pairs


def _merged(areas: list[int], tree: list[list[int]], min_area_px: int) -> Numbering:
    """Merge along ``tree``, in order, where one side is too small; number what is left, (n,)."""
    size, parent = areas.copy(), list(range(len(areas)))
    for left, right in tree:
        # Twice the same loop: a function's call would cost more than what it does.
        one, other = left, right
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        while parent[other] != other:
            parent[other] = other = parent[parent[other]]
        if size[one] < min_area_px or size[other] < min_area_px:
            parent[other] = one
            size[one] += size[other]
    roots = np.array(parent, dtype=np.int32)
    while (roots != roots[roots]).any():
        roots = roots[roots]
    return consecutive(roots)
