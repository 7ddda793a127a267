"""`Estimate`: a mean and its interval, by Wilson for plain hits, by the bootstrap for all else."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xaiserve.perturb.rng import Keys

RESAMPLES: Final = 1000
CONFIDENCE: Final = 0.95

CHUNK: Final = 1 << 18
"""Trials resampled at once: 2 MB per temporary array."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its 95 % interval; no interval where fewer than two images were scored."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class HitRate:
    """Hits over trials; sums of shards equal the whole."""

    hits: int = 0
    trials: int = 0

    def __add__(self, other: "HitRate") -> "HitRate":
        return HitRate(self.hits + other.hits, self.trials + other.trials)

    def estimate(self) -> Estimate | None:
        """Return the rate with Wilson's score interval; None without trials.

        References
        ----------
        E. B. Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, 1927.
        """
        if not self.trials:
            return None
        n, p = self.trials, self.hits / self.trials
        z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
        # Both ends are p itself at p = 0 and p = 1, but for rounding.
        return Estimate(p, min(max(centre - half, 0.0), p), max(min(centre + half, 1.0), p))


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Trials with a value as columns, group after group.

    Parameters
    ----------
    values, image
        Per trial, its value and the index of its image.
    starts
        Per group, its first trial.
    """

    values: NDArray[np.float64]
    image: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, values: ArrayLike, images: ArrayLike, groups: ArrayLike) -> "Columns":
        """Collect trials, (n,) each, by labels; those of a group keep their order."""
        order = np.argsort(groups, kind="stable")
        _, image = np.unique(images, return_inverse=True)
        _, starts = np.unique(np.asarray(groups)[order], return_index=True)
        return cls(np.asarray(values, dtype=np.float64)[order], image[order], starts)

    def means(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """Average over groups, each over its trials, per row of image weights (r, images) -> (r,).

        Groups without weight are left out.
        """
        drawn = weights[:, self.image]
        counts = np.add.reduceat(drawn, self.starts, axis=1)
        sums = np.add.reduceat(drawn * self.values, self.starts, axis=1)
        means = sums / np.maximum(counts, 1)
        return np.asarray(means.sum(axis=1) / (counts > 0).sum(axis=1))


def bootstrap(columns: Columns, keys: Keys) -> Estimate | None:
    """Resample images with replacement; the interval lies between percentiles of the means.

    None without trials, no interval for a single image.
    """
    if not columns.values.size:
        return None
    images = int(columns.image.max()) + 1
    value = float(columns.means(np.ones((1, images), dtype=np.int64))[0])
    if images == 1:
        return Estimate(value)
    generator = keys.child("bootstrap").generator()
    rows = min(max(1, CHUNK // columns.values.size), RESAMPLES)
    sizes = [min(rows, RESAMPLES - done) for done in range(0, RESAMPLES, rows)]
    means = [columns.means(_drawn(size, images, generator)) for size in sizes]
    low, high = np.quantile(np.concatenate(means), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))


def _drawn(rows: int, images: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Draw as many images as there are, per row; say how often each came, (rows, images)."""
    drawn = generator.integers(images, size=(rows, images)) + images * np.arange(rows)[:, None]
    return np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)
