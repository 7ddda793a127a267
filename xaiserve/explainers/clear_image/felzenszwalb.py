"""Felzenszwalb's graph cut with ever larger smallest parts, cut once and merged many times.

P. F. Felzenszwalb, D. P. Huttenlocher, *Efficient Graph-Based Image Segmentation*, IJCV 2004. The
first pass, scikit-image's, does not know the smallest size; the second, which merges what is
smaller along the cheapest edges, needs of all edges only the cheapest between two parts.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from jaxtyping import Float64, Int64
from skimage import segmentation

Picture = Float64[np.ndarray, "h w c"]
Parts = Int64[np.ndarray, "h w"]
Pairs = Int64[np.ndarray, "_ 2"]

STEP_PX: Final = 25
"""What the smallest size grows by."""


def count_all(parts: Parts) -> int:
    """Count the distinct parts."""
    return len(np.unique(parts))


def coarsened(
    picture: Picture,
    most: int,
    scale: float,
    min_area_px: int,
    count: Callable[[Parts], int] = count_all,
) -> tuple[Parts, int]:
    """Cut ``picture``, the smallest size growing until ``count`` says at most ``most`` parts.

    Returns
    -------
    tuple
        Numbers (h, w) from 0 without gaps, and the smallest size in the end.
    """
    fine = segmentation.felzenszwalb(picture, scale=scale, sigma=0, min_size=1)
    fine = np.asarray(fine, dtype=np.int64)
    areas, pairs = np.bincount(fine.ravel()), _cheapest(picture, fine)
    while True:
        parts = np.asarray(_merged(areas, pairs, min_area_px)[fine])
        if count(parts) <= most or min_area_px > fine.size:
            return parts, min_area_px
        min_area_px += STEP_PX


def _cheapest(picture: Picture, fine: Parts) -> Pairs:
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
    return np.asarray(pairs[np.sort(first)])


def _merged(areas: Int64[np.ndarray, " n"], pairs: Pairs, min_area_px: int) -> Any:
    """Merge along ``pairs``, in order, where one side is too small; number what is left, (n,)."""
    size, parent = areas.tolist(), list(range(len(areas)))

    def root(part: int) -> int:
        while parent[part] != part:
            parent[part] = part = parent[parent[part]]
        return part

    for left, right in pairs.tolist():
        one, other = root(left), root(right)
        if one != other and min(size[one], size[other]) < min_area_px:
            parent[other] = one
            size[one] += size[other]
    return np.unique([root(part) for part in range(len(areas))], return_inverse=True)[1]
