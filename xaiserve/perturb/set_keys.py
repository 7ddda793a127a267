"""Numbers that tell visible sets apart: what `perturb.repeats` looks them up by.

Each pixel has a fixed random number of 128 bits; the key of a visible set is the wrapping sum over
its pixels. Two different sets share a key with probability 2**-128.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xaiserve.perturb.query import Boxes, Mix
from xaiserve.types import Labels

SetKeys = NDArray[np.uint64]
"""(n, 2): the two halves of n keys."""

_SEED: Final = 10

_DIGIT: Final = 22
"""Bits of a digit: sums of digits of 2**31 pixels are exact in float64."""


@lru_cache(maxsize=4)
def pixel_keys(height: int, width: int) -> SetKeys:
    """Draw the fixed numbers of the pixels, (h * w, 2), in row order."""
    return _draw(_SEED, height * width)


@lru_cache(maxsize=4)
def area_sums(height: int, width: int) -> SetKeys:
    """Sum the numbers of the pixels above and left of each corner, (h + 1, w + 1, 2)."""
    sums = np.zeros((height + 1, width + 1, 2), dtype=np.uint64)
    grid = pixel_keys(height, width).reshape(height, width, 2)
    sums[1:, 1:] = grid.cumsum(axis=0).cumsum(axis=1)
    return sums


def segment_sums(labels: Labels) -> SetKeys:
    """Sum the numbers of each segment's pixels, (s, 2): digit by digit, as fast counts."""
    flat = labels.flatten().numpy()
    sums = np.zeros((int(flat.max()) + 1, 2), dtype=np.uint64)
    for half, place, digits in pixel_digits(*labels.shape):
        sums[:, half] += np.bincount(flat, digits).astype(np.uint64) << np.uint64(place)
    return sums


@lru_cache(maxsize=4)
def pixel_digits(height: int, width: int) -> list[tuple[int, int, NDArray[np.float64]]]:
    """Cut the numbers of the pixels into digits: half, place in bits, and the digits (h * w,)."""
    keys, mask = pixel_keys(height, width), np.uint64((1 << _DIGIT) - 1)
    return [
        (half, place, ((keys[:, half] >> np.uint64(place)) & mask).astype(np.float64))
        for half in range(2)
        for place in range(0, 64, _DIGIT)
    ]


def mix_keys(leaf: Mix, sums: SetKeys) -> SetKeys:
    """Compute the keys of the rows of ``leaf`` from its segments' sums, (n, 2)."""
    return leaf.keep[:, : len(sums)].numpy().astype(np.uint64) @ sums


def box_keys(leaf: Boxes) -> SetKeys:
    """Compute the keys of the rows of ``leaf``, (n, 2)."""
    sums = area_sums(*leaf.scene.image.shape[1:])
    r0, r1, c0, c1 = leaf.boxes.numpy().T
    inside = sums[r1, c1] - sums[r0, c1] - sums[r1, c0] + sums[r0, c0]
    running = np.zeros((len(inside) + 1, 2), dtype=np.uint64)
    np.cumsum(inside, axis=0, out=running[1:])
    ends = np.searchsorted(leaf.row.numpy(), np.arange(leaf.rows + 1))
    return running[ends[1:]] - running[ends[:-1]]


def scene_key(number: int) -> SetKeys:
    """Draw what is added to every key of a plan's scene of that number, (1, 2)."""
    return _draw(_SEED + 1 + number, 1)


def _draw(seed: int, count: int) -> SetKeys:
    generator = np.random.Generator(np.random.Philox(key=seed))
    return generator.integers(0, 1 << 64, size=(count, 2), dtype=np.uint64)
