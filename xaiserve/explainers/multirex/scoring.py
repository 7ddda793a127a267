"""What a split's verdicts say about its four children: their rewards.

Rewards are whole numbers of `UNIT`, so that sums are exact in any order: with shares of a half and
a third, and confidences counted in `CONFIDENCE` steps, nothing is rounded on the way to the map.
"""

from itertools import combinations
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from xaiserve.explainers.multirex.mutants import PLACES, SUBSETS, Table

Scoring = Literal["share", "minimal_share", "witness"]

UNIT: Final = 12
"""A reward of 1; halves, thirds and quarters are whole numbers of it."""

CONFIDENCE: Final = 1 << 24
"""Steps in which confidences are counted when rewards are weighted: float32's own below 1."""

Rewards = NDArray[np.int64]
"""(s, 4): a reward per child."""

SHARES: Final = np.array(
    [[UNIT // len(subset) if child in subset else 0 for child in range(4)] for subset in SUBSETS]
)
"""(14, 4): what each mutant gives to each child."""

_SMALLER: Final = np.array([[set(one) < set(other) for other in SUBSETS] for one in PLACES])


def rewards_of(
    scoring: Scoring, decided: Table, passes: Table, weights: NDArray[np.int64] | None
) -> Rewards:
    """Reward the children of each split; nothing where none of its 14 mutants passes.

    Parameters
    ----------
    decided
        Whether the mutant keeps the label, at any confidence.
    passes
        Whether it does at the confidence asked for.
    weights
        (s, 14) confidences in steps of `CONFIDENCE`; 1 each when none. Not for ``witness``.

    Notes
    -----
    ``share``: 1 / (boxes shown) of every mutant that keeps the label. A mutant that keeps it below
    the confidence asked for counts as well, wherever another one passes: that is the tool's rule.
    ``minimal_share``: of the passing mutants without a passing strict subset.
    ``witness``: see `witness`.
    """
    some = passes[:, : len(SUBSETS)].any(axis=1, keepdims=True)
    if scoring == "witness":
        return np.where(some, witness(passes), 0)
    counted = decided if scoring == "share" else minimal(passes)
    each = counted[:, : len(SUBSETS)] & some
    found: Rewards = (each if weights is None else each * weights) @ SHARES
    return found


def minimal(passes: Table) -> Table:
    """Say which of the 14 mutants pass while none of their strict subsets does, (s, 14)."""
    found: Table = passes[:, : len(SUBSETS)] & ~(passes @ _SMALLER)
    return found


def witness(passes: Table) -> Rewards:
    """Compute 1 / (1 + k), k the size of a child's smallest witness; 0 for a child without.

    A witness of child j is a set W of other children such that hiding W keeps the label and hiding
    j as well loses it: the degree of responsibility of Chockler and Halpern (2004), for the four
    children as variables and what is held as context.
    """
    flips = passes[:, _BEFORE] & ~passes[:, _AFTER]
    best: Rewards = (flips * _DEGREE).max(axis=2)
    return best


def _witnesses(child: int) -> list[tuple[int, ...]]:
    others = [other for other in range(4) if other != child]
    return [found for size in range(4) for found in combinations(others, size)]


def _shown(hidden: set[int]) -> int:
    return PLACES.index(tuple(child for child in range(4) if child not in hidden))


_BEFORE: Final = np.array([[_shown({*w}) for w in _witnesses(j)] for j in range(4)])
_AFTER: Final = np.array([[_shown({*w, j}) for w in _witnesses(j)] for j in range(4)])
_DEGREE: Final = np.array([UNIT // (1 + len(w)) for w in _witnesses(0)])
