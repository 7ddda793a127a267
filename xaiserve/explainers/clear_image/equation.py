"""Stepwise forward selection of the regression's terms."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import expit

from xaiserve.explainers.clear_image.logit import (
    Fit,
    Vector,
    fit_linear,
    fit_logistic,
    published_likelihood,
)
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.parts import SegmentSet
from xaiserve.explainers.clear_image.table import Masks

FIRST_SCORE: Final = 100_000.0
"""What the first candidate has to beat in the released code."""

SLACK: Final = 1.002
"""Parity accepts an AIC up to 0.2 % worse; other scores must improve by so much in any mode."""

ALIKE: Final = 0.005
"""A product goes for one of its segments where that scores within so much."""

EQUAL: Final = 1e-7
"""Scores closer than this, relatively, are equal: the lower segment wins. Probabilities move in the
seventh digit with the company that they were computed in."""

MORE_THAN_FORCED: Final = 3


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Distinct masks with the classifier's probability of each, and how much it counts.

    Parameters
    ----------
    sampled
        The part of ``weights`` that comes from the neighbourhood, without what counterfactuals and
        both ends add.
    """

    masks: Masks
    p: Vector
    weights: Vector
    sampled: Vector

    def columns(self, terms: Sequence[SegmentSet]) -> np.ndarray:
        """Multiply the bits of each term (n, k), after a column of ones."""
        ones = np.ones(len(self.masks))
        return np.stack([ones, *(self.column(term) for term in terms)], axis=1)

    def column(self, term: SegmentSet) -> Vector:
        return np.asarray(self.masks[:, list(term)].all(axis=1).astype(np.float64))


@dataclass(frozen=True, slots=True, eq=False)
class Equation:
    """The terms chosen, their fit, and its score."""

    terms: tuple[SegmentSet, ...]
    fit: Fit
    score: float

    @property
    def intercept(self) -> float:
        return float(self.fit.coefficients[0])

    @property
    def weights(self) -> dict[SegmentSet, float]:
        return dict(zip(self.terms, self.fit.coefficients[1:].tolist(), strict=True))


class Selection:
    """Chooses terms for one image's rows.

    Parameters
    ----------
    rows
        What to fit.
    options
        The score, the limit, and the mode.
    p1
        The classifier's probability of the image, which a linear equation meets exactly.
    penalty, intercept_penalty
        Ridge on the weights, and on the intercept.
    """

    def __init__(
        self,
        rows: Rows,
        options: ClearOptions,
        p1: float,
        penalty: float,
        intercept_penalty: float = 0.0,
    ) -> None:
        self.rows = rows
        self.penalty = penalty
        self._intercept_penalty = intercept_penalty
        self.options = options
        self._parity = options.mode == "parity"
        self.p1 = p1

    def run(
        self, forced: Sequence[SegmentSet], candidates: Sequence[SegmentSet]
    ) -> Equation | None:
        """Add the candidate that scores best, until none is accepted or the limit is met.

        Returns
        -------
        Equation or None
            None when no fit succeeds (perfect separation).
        """
        options = self.options
        current = self.fitted(forced)
        left = list(candidates)
        accept = FIRST_SCORE if self._parity and options.score == "aic" else None
        limit = options.max_predictors - 1
        if len(forced) >= limit:
            limit = len(forced) + MORE_THAN_FORCED
        if current is None and (not self._parity or not left):
            return None
        terms = tuple(forced)
        while left and len(terms) < limit:
            tried = [self._with(current, terms, each) for each in left]
            best = self._best(tried)
            if best is None:
                return None
            if not self._accepts(best.score, accept if accept is not None else _score(current)):
                break
            current, accept, terms = best, None, best.terms
            left.remove(best.terms[-1])
        return current

    def fitted(
        self,
        terms: Sequence[SegmentSet],
        start: Vector | None = None,
        weights: Vector | None = None,
    ) -> Equation | None:
        """Fit one equation, with other weights than the rows' own if given."""
        rows = self.rows
        x = rows.columns(terms)
        counted = rows.weights if weights is None else weights
        fit = (
            fit_linear(x, rows.p, counted, through=self.p1, penalty=self.penalty)
            if self.options.regression == "multiple"
            else fit_logistic(
                x,
                rows.p,
                counted,
                start=start,
                penalty=self.penalty,
                intercept_penalty=self._intercept_penalty,
            )
        )
        return None if fit is None else Equation(tuple(terms), fit, self._score(fit, counted))

    def _with(
        self, current: Equation | None, terms: tuple[SegmentSet, ...], term: SegmentSet
    ) -> Equation | None:
        start = None if current is None else np.append(current.fit.coefficients, 0.0)
        return self.fitted((*terms, term), start)

    def _best(self, tried: Sequence[Equation | None]) -> Equation | None:
        """Take the best of the fits that succeeded; the first of equal ones."""
        best: Equation | None = None
        for each in tried:
            if each is not None and (best is None or self._beats(each.score, best.score)):
                best = each
        if best is None or len(best.terms[-1]) == 1:
            return best
        mains = [each for each in tried if each and _is_main_of(each.terms[-1], best.terms[-1])]
        alike = [each for each in mains if self._swaps(each.score, best.score)]
        return alike[0] if alike else best

    def _beats(self, score: float, other: float) -> bool:
        gap = EQUAL * abs(other)
        return score < other - gap if self.options.score == "aic" else score > other + gap

    def _swaps(self, main: float, product: float) -> bool:
        """Say whether a main effect goes for its product; for parity's AIC, always."""
        if self._parity and self.options.score == "aic":
            return True
        return abs(main - product) < ALIKE * abs(product)

    def _accepts(self, score: float, current: float) -> bool:
        if self.options.score != "aic":
            return score > SLACK * current
        return score < SLACK * current if self._parity else score <= current

    def _score(self, fit: Fit, weights: Vector) -> float:
        rows, count = self.rows, len(fit.coefficients)
        match self.options.score:
            case "aic":
                linear = self.options.regression == "multiple"
                published = self._parity and not linear
                value = published_likelihood(fit.z, rows.p, weights) if published else None
                return -2 * (fit.likelihood if value is None else value) + 2 * count
            case "pseudo-r2":
                return self._pseudo_r2(fit, weights)
            case "adjusted-r2":
                return self._adjusted_r2(fit.z, count)

    def _pseudo_r2(self, fit: Fit, weights: Vector) -> float:
        """McFadden: 1 less the likelihood over that of the intercept alone."""
        p = self.rows.p
        mean = float(np.average(p, weights=weights))
        if not 0 < mean < 1:
            return 0.0
        null = np.full(len(p), np.log(mean) - np.log1p(-mean))
        if self._parity:
            whole = published_likelihood(fit.z, p, weights)
            return 1 - whole / published_likelihood(null, p, weights)
        base = float(weights @ (p * null - np.logaddexp(0.0, null)))
        return 1 - fit.likelihood / base

    def _adjusted_r2(self, z: Vector, count: int) -> float:
        """Count the neighbourhood alone: neither counterfactuals nor the contrast."""
        p, weights = self.rows.p, self.rows.sampled
        total = weights @ (p - np.average(p, weights=weights)) ** 2
        if total == 0:
            return 0.0
        n = float(weights.sum())
        unexplained = float(weights @ (p - z) ** 2 / total)
        return 1 - unexplained * (n - 1) / (n - count)


def predict(equation: Equation, masks: Masks, *, linear: bool) -> Vector:
    """Say what the equation makes of masks."""
    z = np.full(len(masks), equation.intercept)
    for term, weight in equation.weights.items():
        z += weight * masks[:, list(term)].all(axis=1)
    return z if linear else np.asarray(expit(z))


def _score(equation: Equation | None) -> float:
    return FIRST_SCORE if equation is None else equation.score


def _is_main_of(main: SegmentSet, product: SegmentSet) -> bool:
    return len(main) == 1 and main[0] in product
