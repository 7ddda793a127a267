"""Tallies: statistics over images that merge in any order and grouping.

`HitRate` holds two counts. `Tally` holds the values themselves, one `Trial` per image and class,
because a bootstrap resamples them; it keeps them sorted, so that equal trials give equal tallies,
however they were gathered, and equal intervals to the last bit.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xaiserve.perturb.rng import Keys

RESAMPLES: Final = 1000
CONFIDENCE: Final = 0.95

CHUNK: Final = 1 << 20
"""Trials resampled at once: 8 MB per temporary array."""


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


@dataclass(frozen=True, slots=True)
class Trial:
    """One metric of one explanation.

    Parameters
    ----------
    image_id
        What is resampled: trials of one image stay together.
    group
        Class of the image; `Tally.macro` averages over groups.
    value
        Finite; None where there is a ``reason``.
    """

    image_id: str
    group: str
    value: float | None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"value must be finite or missing, got {self.value}")


def _place(trial: Trial) -> tuple[str, str, str, float]:
    return (trial.image_id, trial.group, trial.reason, trial.value or 0.0)


@dataclass(frozen=True, slots=True)
class Tally:
    """Trials of one method and metric, in canonical order; `+` merges disjoint sets of trials."""

    trials: tuple[Trial, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", tuple(sorted(self.trials, key=_place)))

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.trials + other.trials)

    @property
    def images(self) -> int:
        """Distinct images, scored or not."""
        return len({trial.image_id for trial in self.trials})

    @property
    def nulls(self) -> Mapping[str, int]:
        """Trials without a value, counted by reason."""
        return dict(Counter(trial.reason for trial in self.trials if trial.value is None))

    def hit_rate(self, keys: Keys) -> Estimate | None:
        """Estimate the share of hits; None where nothing was scored.

        Plain hits, all 0 or 1, have Wilson's interval; a fraction among them (several maxima) asks
        for the bootstrap.
        """
        values = [trial.value for trial in self.trials if trial.value is not None]
        if set(values) <= {0.0, 1.0}:
            return HitRate(round(sum(values)), len(values)).estimate()
        return self.micro(keys)

    def micro(self, keys: Keys) -> Estimate | None:
        """Estimate the plain mean over trials; None where nothing was scored."""
        return _bootstrap(_Columns.of(self, by_group=False), keys)

    def macro(self, keys: Keys) -> Estimate | None:
        """Estimate the mean over groups of the mean over a group's trials.

        Groups without a scored trial are left out, in every resample too.
        """
        return _bootstrap(_Columns.of(self, by_group=True), keys)


def differences(one: Tally, other: Tally) -> Tally:
    """Pair two methods on the same images and classes: ``one - other``, trial by trial.

    The mean of the result and its interval are the paired bootstrap. A trial that only one side
    scored counts as null: ``unpaired``.

    Raises
    ------
    ValueError
        A side has several trials of one image and class, which cannot be paired.
    """
    mine, theirs = _by_pair(one), _by_pair(other)
    return Tally(tuple(_difference(pair, mine, theirs) for pair in mine.keys() | theirs.keys()))


_Pair = tuple[str, str]


def _by_pair(tally: Tally) -> dict[_Pair, float | None]:
    found = {(trial.image_id, trial.group): trial.value for trial in tally.trials}
    if len(found) < len(tally.trials):
        raise ValueError(
            "trials must be of distinct images and classes to be paired, got "
            f"{len(tally.trials)} trials of {len(found)}"
        )
    return found


def _difference(
    pair: _Pair, mine: Mapping[_Pair, float | None], theirs: Mapping[_Pair, float | None]
) -> Trial:
    left, right = mine.get(pair), theirs.get(pair)
    if left is None or right is None:
        return Trial(*pair, None, "unpaired")
    return Trial(*pair, left - right)


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """The scored trials of a tally as columns, group after group.

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
    def of(cls, tally: Tally, *, by_group: bool) -> "_Columns":
        scored = [trial for trial in tally.trials if trial.value is not None]
        if by_group:
            scored.sort(key=lambda trial: trial.group)
        values = np.array([trial.value for trial in scored], dtype=np.float64)
        _, image = np.unique([trial.image_id for trial in scored], return_inverse=True)
        groups = [trial.group if by_group else "" for trial in scored]
        _, starts = np.unique(groups, return_index=True)
        return cls(values, image, starts)

    def means(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """Average over groups, each over its trials, per row of image weights (r, images) -> (r,).

        Groups without weight are left out.
        """
        drawn = weights[:, self.image]
        counts = np.add.reduceat(drawn, self.starts, axis=1)
        sums = np.add.reduceat(drawn * self.values, self.starts, axis=1)
        means = sums / np.maximum(counts, 1)
        return np.asarray(means.sum(axis=1) / (counts > 0).sum(axis=1))


def _bootstrap(columns: _Columns, keys: Keys) -> Estimate | None:
    """Resample images with replacement; the interval lies between percentiles of the means."""
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
