"""Random ways of hiding parts of a picture, as explanation methods do.

Each returns weights (h, w) in [0, 1]: 1 where the picture is shown, 0 where the fill is.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from jaxtyping import Float32
from scipy.ndimage import gaussian_filter, zoom
from scipy.spatial import cKDTree

from xaiserve.data.sample import SIDE, Sample

Shown = Float32[np.ndarray, "h w"]
Point = tuple[float, float]
"""x, y in pixels."""

Way = Callable[[np.random.Generator, Sequence[Point]], Shown]

COUNTS_FROM: Final = 0.85
"""A part counts as visible from this share of its pixels."""

HIDDEN_BELOW: Final = 0.5
"""A part counts as hidden below this share: two halves of a lesion never both suffice."""


def random_shown(draws: np.random.Generator, points: Sequence[Point]) -> Shown:
    """Hide parts of a picture in a way drawn at random.

    Parameters
    ----------
    draws
        Source of randomness.
    points
        Places of interest; half of the boxes and discs are laid near one of them, since one laid
        anywhere seldom cuts a small shape.
    """
    shown = _WAYS[draws.integers(len(_WAYS))](draws, points)
    return np.asarray(1 - shown) if draws.integers(2) else shown


def lesion_visible(sample: Sample, shown: Shown) -> bool | None:
    """Say whether a lesion of ``sample`` is still visible; None where that is ambiguous."""
    ambiguous = False
    for feature in sample.features:
        least = min(float(shown[part].mean()) for part in feature.parts)
        if least >= COUNTS_FROM:
            return True
        ambiguous |= least >= HIDDEN_BELOW
    return None if ambiguous else False


def _whole(_draws: np.random.Generator, _points: Sequence[Point]) -> Shown:
    return np.ones((SIDE, SIDE), dtype=np.float32)


def _boxes(draws: np.random.Generator, points: Sequence[Point]) -> Shown:
    shown = np.zeros((SIDE, SIDE), dtype=np.float32)
    for _ in range(draws.integers(1, 5)):
        x, y = _near(draws, points)
        width, height = draws.integers(6, draws.choice([40, 80, 200]), size=2)
        left, top = x - draws.uniform(0, width), y - draws.uniform(0, height)
        rows = slice(max(0, round(top)), max(0, round(top + height)))
        columns = slice(max(0, round(left)), max(0, round(left + width)))
        shown[rows, columns] = 1
    return shown


def _discs(draws: np.random.Generator, points: Sequence[Point]) -> Shown:
    rows, columns = np.ogrid[:SIDE, :SIDE]
    shown = np.zeros((SIDE, SIDE), dtype=np.float32)
    for _ in range(draws.integers(1, 4)):
        x, y = _near(draws, points)
        radius = draws.uniform(5, 50)
        x, y = (np.array([x, y]) + draws.uniform(-radius, radius, size=2)).tolist()
        shown[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 1
    return shown


def _half_planes(draws: np.random.Generator, points: Sequence[Point]) -> Shown:
    """Show one side of a line through a place of interest: what a split of a box does."""
    rows, columns = np.ogrid[:SIDE, :SIDE]
    x, y = _near(draws, points)
    upright, slanted = draws.integers(4) * np.pi / 2, draws.uniform(0, 2 * np.pi)
    angle = upright if draws.integers(2) else slanted
    offset = draws.uniform(-25, 25)
    side = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle) > offset
    return np.asarray(side, dtype=np.float32)


def _grid(draws: np.random.Generator, _points: Sequence[Point]) -> Shown:
    return np.kron(_cells(draws), np.ones((8, 8), dtype=np.float32))


def _soft_grid(draws: np.random.Generator, _points: Sequence[Point]) -> Shown:
    """Blend smoothly between the cells of a coarse grid, moved by part of a cell (as RISE does)."""
    coarse = (draws.random((9, 9)) < draws.uniform(0.1, 0.9)).astype(np.float32)
    top, left = draws.integers(0, 28, size=2)
    smooth = zoom(coarse, 28, order=1)
    return np.asarray(smooth[top : top + SIDE, left : left + SIDE], dtype=np.float32)


def _superpixels(draws: np.random.Generator, _points: Sequence[Point]) -> Shown:
    seeds = draws.uniform(0, SIDE, size=(draws.integers(15, 120), 2))
    coarse = np.indices((SIDE // 2, SIDE // 2)).reshape(2, -1).T * 2
    _, nearest = cKDTree(seeds).query(coarse)
    kept = draws.random(len(seeds)) < draws.uniform(0.05, 0.95)
    small = kept[nearest].reshape(SIDE // 2, SIDE // 2)
    return np.kron(small, np.ones((2, 2))).astype(np.float32)


def _prefix(draws: np.random.Generator, _points: Sequence[Point]) -> Shown:
    """Show the top share of a random map's pixels, smooth or not (as insertion does)."""
    ranking = draws.normal(size=(SIDE, SIDE))
    sigma = draws.choice([0, 2, 6, 14])
    smooth = gaussian_filter(ranking, sigma) if sigma else ranking
    return (smooth > np.quantile(smooth, draws.random())).astype(np.float32)


def _cells(draws: np.random.Generator) -> Shown:
    """Draw 28 x 28 cells of 8 pixels, kept or not in square groups of 1, 2, 4 or 7."""
    group = int(draws.choice([1, 2, 4, 7]))
    kept = draws.random((28 // group, 28 // group)) < draws.uniform(0.05, 0.95)
    return np.kron(kept, np.ones((group, group))).astype(np.float32)


def _near(draws: np.random.Generator, points: Sequence[Point]) -> Point:
    if points and draws.integers(2):
        x, y = points[int(draws.integers(len(points)))]
        return x + draws.uniform(-8, 8), y + draws.uniform(-8, 8)
    x, y = draws.uniform(0, SIDE, size=2).tolist()
    return x, y


_WAYS: Final[tuple[Way, ...]] = (
    _boxes,
    _discs,
    _half_planes,
    _grid,
    _soft_grid,
    _superpixels,
    _prefix,
    _whole,
)
