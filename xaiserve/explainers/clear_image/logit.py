"""Fits on distinct weighted rows: the fractional logistic regression, and the linear one.

L. E. Papke, J. M. Wooldridge, *Econometric Methods for Fractional Response Variables*, Journal of
Applied Econometrics 1996: the logistic likelihood with a share p where a label of 0 or 1 stands.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float64
from scipy.special import expit

Design = Float64[np.ndarray, "_ k"]
"""One column per term, the intercept's ones first."""

Vector = Float64[np.ndarray, " _"]

ITERATIONS: Final = 35
TOLERANCE: Final = 1e-8
RIDGE: Final = 1e-10
LONG: Final = 1.0
"""A shorter step cannot overshoot by much."""

SHORTEST: Final = 2.0**-20
ESCAPING: Final = 0.1
"""A step this long, once every row is met, goes on for ever."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Coefficients, the linear predictor per row, and the log-likelihood that was maximised."""

    coefficients: Vector
    z: Vector
    likelihood: float


def fit_logistic(
    x: Design,
    p: Vector,
    weights: Vector,
    *,
    start: Vector | None = None,
    penalty: float = 0.0,
    intercept_penalty: float = 0.0,
) -> Fit | None:
    """Maximise ``sum_i W_i (p_i ln mu_i + (1 - p_i) ln(1 - mu_i))`` by Newton's method.

    Parameters
    ----------
    start
        Where to begin; zero when none. It decides how many steps it takes, not where they end.
    penalty, intercept_penalty
        Ridge: half of it times the squared weights, and the squared intercept, is taken off.

    Returns
    -------
    Fit or None
        None when the system is singular, or the coefficients grow without end while every row is
        met within 1e-8 (perfect separation). Neither can be where all of them have a penalty.
    """
    ridge = np.full(x.shape[1], penalty)
    ridge[0] = intercept_penalty
    if start is not None:
        found, settled = _newton(x, p, weights, ridge, start)
        if settled:
            return found
    return _newton(x, p, weights, ridge, np.zeros(x.shape[1]))[0]


def _newton(
    x: Design, p: Vector, weights: Vector, ridge: Vector, beta: Vector
) -> tuple[Fit | None, bool]:
    """Go from ``beta``; say where that leads, and whether it came to rest there."""

    def value(at: Vector) -> float:
        return _likelihood(x @ at, p, weights) - 0.5 * float(ridge @ at**2)

    z, size = x @ beta, np.inf
    bounded = bool(ridge.min() > 0)
    for _ in range(ITERATIONS):
        mu = expit(z)
        residual = p - mu
        slope = x.T @ (weights * residual) - ridge * beta
        curvature = x.T @ (x * (weights * mu * (1 - mu))[:, None])
        curvature[np.diag_indices(len(beta))] += ridge + RIDGE
        try:
            step = np.linalg.solve(curvature, slope)
        except np.linalg.LinAlgError:
            return None, False
        size = np.abs(step).max()
        # Met by ever larger coefficients rather than by the right ones.
        met = not bounded and np.abs(residual).max() <= TOLERANCE
        if not size < np.inf or (met and size > ESCAPING):
            return None, False
        if size > LONG:
            step = step * _share(value, beta, step)
        beta = beta + step
        z = x @ beta
        if size < TOLERANCE:
            break
    return Fit(beta, z, _likelihood(z, p, weights)), bool(size < TOLERANCE)


def _share(value: Callable[[Vector], float], beta: Vector, step: Vector) -> float:
    """Halve a long step until ``value``, which is concave, does not fall."""
    here, share = value(beta), 1.0
    while value(beta + share * step) < here and share > SHORTEST:
        share /= 2
    return share


def _likelihood(z: Vector, p: Vector, weights: Vector) -> float:
    return float(weights @ (p * z - np.logaddexp(0.0, z)))


def published_likelihood(z: Vector, p: Vector, weights: Vector) -> float:
    """Sum ``W ln sigma((2 p - 1) z)``: what the released code's library reports for shares.

    Equal to the likelihood that was maximised only where every p is 0 or 1.
    """
    return -float(weights @ np.logaddexp(0.0, -(2 * p - 1) * z))


def fit_linear(
    x: Design, p: Vector, weights: Vector, *, through: float, penalty: float = 0.0
) -> Fit:
    """Fit ``p - through`` to the bits less 1, so that the plane meets the image exactly.

    The likelihood is the Gaussian one, with as many observations as the weights sum to.
    """
    shifted = x[:, 1:] - 1
    curvature = shifted.T @ (shifted * weights[:, None])
    curvature[np.diag_indices(len(curvature))] += penalty + RIDGE
    slopes = np.linalg.solve(curvature, shifted.T @ (weights * (p - through)))
    beta = np.concatenate([[through - slopes.sum()], slopes])
    z = x @ beta
    rows = float(weights.sum())
    squares = max(float(weights @ (p - z) ** 2), rows * TOLERANCE**2)
    likelihood = -0.5 * rows * (math.log(2 * math.pi * squares / rows) + 1)
    return Fit(beta, z, likelihood)
