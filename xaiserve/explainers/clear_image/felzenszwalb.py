"""Felzenszwalb's graph cut with ever larger smallest parts, cut once and merged many times.

P. F. Felzenszwalb, D. P. Huttenlocher, *Efficient Graph-Based Image Segmentation*, IJCV 2004. The
first pass, scikit-image's, does not know the smallest size; the second, which merges what is
smaller along the cheapest edges, needs of all edges only the cheapest between two parts.
"""

from bisect import bisect_left
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float64, Int64
from skimage import segmentation

Picture = Float64[np.ndarray, "h w c"]
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
    stepwise: bool = True,
) -> tuple[Parts, int]:
    """Cut ``picture``, the smallest size growing by 25 until there are at most ``most`` parts.

    Parameters
    ----------
    within
        (h, w) Count the parts that have a pixel here alone.
    stepwise
        Try every size in turn, as published; else find one by bisection, in a sixth of the time. It
        is the same one if no larger size gives more parts.

    Returns
    -------
    tuple
        Numbers (h, w) from 0 without gaps, and the smallest size in the end.
    """
    fine = segmentation.felzenszwalb(picture, scale=scale, sigma=0, min_size=1)
    fine = np.asarray(fine, dtype=np.int64)
    areas, pairs = np.bincount(fine.ravel()).tolist(), _cheapest(picture, fine)
    counted = np.arange(len(areas)) if within is None else np.unique(fine[within])

    def fits(step: int) -> bool:
        merged = _merged(areas, pairs, min_area_px + step * STEP_PX)
        return len(np.unique(merged[counted])) <= most

    steps = range(fine.size // STEP_PX + 1)
    # Over the last size everything is one part.
    step = next(filter(fits, steps)) if stepwise else bisect_left(steps, True, key=fits)
    least = min_area_px + step * STEP_PX
    return np.asarray(_merged(areas, pairs, least)[fine]), least


def _cheapest(picture: Picture, fine: Parts) -> list[list[int]]:
    """List the pairs of neighbouring parts (of 8 neighbours), the cheapest edge first."""
    everything, tail, head = slice(None), slice(1, None), slice(None, -1)
    # The order of scikit-image: right, down, down-right, up-right; it decides among equals.
    steps: list[tuple[Any, Any]] = [
        ((everything, tail), (everything, head)),
        ((tail, everything), (head, everything)),
        ((tail, tail), (head, head)),
        ((head, tail), (tail, head)),
    ]
    costs, ends = [], []
    for here, there in steps:
        apart = fine[here] != fine[there]
        costs.append(np.sqrt(((picture[here] - picture[there])[apart] ** 2).sum(axis=-1)))
        ends.append(np.stack([fine[here][apart], fine[there][apart]], axis=1))
    pairs = np.sort(np.concatenate(ends), axis=1)[np.argsort(np.concatenate(costs), kind="stable")]
    _, first = np.unique(pairs[:, 0] * fine.size + pairs[:, 1], return_index=True)
    ordered: list[list[int]] = pairs[np.sort(first)].tolist()
    return ordered


def _merged(areas: list[int], pairs: list[list[int]], min_area_px: int) -> Numbering:
    """Merge along ``pairs``, in order, where one side is too small; number what is left, (n,)."""
    size, parent = areas.copy(), list(range(len(areas)))
    for left, right in pairs:
        # Twice the same loop: a function's call would cost more than what it does.
        one, other = left, right
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        while parent[other] != other:
            parent[other] = other = parent[parent[other]]
        if one != other and (size[one] < min_area_px or size[other] < min_area_px):
            parent[other] = one
            size[one] += size[other]
    roots = np.array(parent)
    while (roots != roots[roots]).any():
        roots = roots[roots]
    return np.asarray(np.unique(roots, return_inverse=True)[1])
