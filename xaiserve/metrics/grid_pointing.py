"""Does the explanation point at every feature? CLEAR's pointing game on the squares of a grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64

from xaiserve.metrics.scored import AnyMap, Measure, Reason, Scored
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.rng import Keys
from xaiserve.types import Region

GRID_SIDE: Final = 7
"""Squares per side of the published game."""

CHANCE_DRAWS: Final = 4000
"""Orders drawn for `GridPointingGame.chance`; its standard error is below 0.005."""

NO_FEATURE: Final = Scored(None, "empty_mask")

Feature = frozenset[int]
"""The squares that one feature touches, numbered row * side + column."""

SquareValues = Float64[np.ndarray, " squares"]
Inside = Bool[np.ndarray, "features squares"]
"""Whether each square lies in each feature."""

Orders = Int64[np.ndarray, "n squares"]
"""Squares in the order in which they are visited, one order per row."""


@dataclass(frozen=True, slots=True)
class GridScored(Scored):
    """A score of the grid pointing game, and how it came about.

    Parameters
    ----------
    hits
        Features found by the squares visited; a square in two features is two hits.
    misses
        Visited squares in no feature.
    tied
        Squares whose value is that of the last one visited, itself included: above 1, the order
        among equals had a say.
    """

    hits: int = 0
    misses: int = 0
    tied: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPointingGame:
    """Share of hits among the squares visited, by decreasing value, until every feature is found.

    A square's value is the mean of the signed map over it; values smaller in size than a hundredth
    of the largest become 0. The score is hits / (hits + misses), between 0 and 1. A constant map is
    scored like any other, by the order among equals. No feature gives ``empty_mask``, a map with
    fewer pixels than squares along a side ``size_mismatch``.

    References
    ----------
    White et al., *Contrastive Counterfactual Visual Explanations With Overdetermination*, Machine
    Learning 2023, arXiv 2106.14556; the rules are those of the authors' released code.
    """

    measure: ClassVar[Measure] = Measure("grid_pointing", "up")

    side: int = param(GRID_SIDE, "Squares per side of the grid", low=1, high=1000, source="CLEAR")
    floor: float = param(
        0.01,
        "Share of the largest value below which, in size, a square counts as 0",
        low=0,
        high=1,
        source="CLEAR",
    )
    ties: Literal["index", "group"] = param(
        "index",
        "Equal squares are visited by number, or all of them before the game may end",
        source="CLEAR's archived scores fit index",
    )
    averages: Literal["float64", "float16"] = param(
        "float64", "Precision in which the means over squares are kept", source="CLEAR: float16"
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def score(self, saliency: AnyMap, features: Sequence[Feature]) -> GridScored:
        """Score one map against the features of its image.

        Raises
        ------
        ValueError
            A feature has no square, or one outside the grid.
        """
        inside = self._inside(features)
        if reason := self._flaw(saliency, features):
            return GridScored(None, reason)
        return self._play(self.values(saliency), inside)

    def chance(self, features: Sequence[Feature]) -> Scored:
        """Score a uniformly random order of the squares, on average over seeded draws."""
        inside = self._inside(features)
        return Scored(_chance(inside.tobytes(), inside.shape)) if features else NO_FEATURE

    def centre(self, features: Sequence[Feature]) -> Scored:
        """Score the order of distance from the middle of the image, equals by number."""
        inside = self._inside(features)
        if not features:
            return NO_FEATURE
        rows, columns = np.divmod(np.arange(self.side**2), self.side)
        middle = (self.side - 1) / 2
        near = -np.hypot(rows - middle, columns - middle)
        return Scored(self._play(near, inside).value)

    def values(self, saliency: AnyMap) -> SquareValues:
        """Average the map over each square and set what is below the floor to 0."""
        means = square_means(saliency.numpy().astype(np.float64), self.side)
        if self.averages == "float16":
            means = means.astype(np.float16).astype(np.float64)
        return np.where(np.abs(means) < means.max() * self.floor, 0.0, means)

    def _play(self, values: SquareValues, inside: Inside) -> GridScored:
        order = np.argsort(-values, kind="stable")
        stop = int(stops(order[None], inside)[0])
        ranked = values[order]
        equal = np.flatnonzero(ranked == ranked[stop - 1])
        if self.ties == "group":
            stop = int(equal[-1]) + 1
        found = inside[:, order[:stop]].sum(axis=0)
        hits, misses = int(found.sum()), int((found == 0).sum())
        return GridScored(hits / (hits + misses), "", hits, misses, len(equal))

    def _inside(self, features: Sequence[Feature]) -> Inside:
        """Mark the squares of each feature."""
        squares = self.side**2
        for feature in features:
            if not feature or min(feature) < 0 or max(feature) >= squares:
                raise ValueError(
                    f"a feature must have at least one square, from 0 to {squares - 1}, "
                    f"got {sorted(feature)}"
                )
        marked = [[square in feature for square in range(squares)] for feature in features]
        return np.array(marked, dtype=bool).reshape(len(features), squares)

    def _flaw(self, saliency: AnyMap, features: Sequence[Feature]) -> Reason:
        if not features:
            return "empty_mask"
        if min(saliency.shape) < self.side:
            return "size_mismatch"
        return "" if bool(np.isfinite(saliency.numpy()).all()) else "nonfinite_map"


def squares_of(region: Region, side: int = GRID_SIDE) -> Feature:
    """Return the squares that a mask touches; none for an empty one."""
    rows, columns = np.nonzero(region.numpy())
    height, width = region.shape
    numbers = rows * side // height * side + columns * side // width
    return frozenset(np.unique(numbers).tolist())


def square_means(values: Float64[np.ndarray, "h w"], side: int) -> SquareValues:
    """Average over each square; pixel (y, x) lies in row y * side // h and column x * side // w."""
    height, width = values.shape
    rows, columns = (-(-np.arange(side) * size // side) for size in (height, width))
    sums = np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)
    counts = np.outer(np.diff(rows, append=height), np.diff(columns, append=width))
    return np.asarray((sums / counts).ravel())


def stops(orders: Orders, inside: Inside) -> Int64[np.ndarray, " n"]:
    """Count, per order, the squares visited until every feature has been found."""
    return np.asarray(inside[:, orders].argmax(axis=2).max(axis=0) + 1)


@lru_cache(maxsize=4096)
def _chance(marked: bytes, shape: tuple[int, int]) -> float:
    """Average the score over random orders, always the same ones, for the bytes of an `Inside`."""
    inside = np.frombuffer(marked, dtype=bool).reshape(shape)
    draws = Keys.root(0, "grid pointing, chance").generator()
    orders = draws.permuted(np.tile(np.arange(shape[1]), (CHANCE_DRAWS, 1)), axis=1)
    last = stops(orders, inside)[:, None] - 1
    found = inside.sum(axis=0)[orders]
    hits = np.take_along_axis(found.cumsum(axis=1), last, axis=1)
    misses = np.take_along_axis((found == 0).cumsum(axis=1), last, axis=1)
    return float((hits / (hits + misses)).mean())
