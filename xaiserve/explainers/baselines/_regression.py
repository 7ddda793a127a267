"""The two linear regressions behind LIME and Kernel SHAP, in float64.

Both see the same data: ``keep`` (n, s) says which segments a row shows, ``scores`` (n,) what the
classifier answered and ``weights`` (n,), at least 0, how much the row counts.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Float64
from torch import Tensor

from xaiserve.types import Keep

Effects = Float64[Tensor, " s"]
"""What showing each segment adds to the score."""

RowWeights = Float64[Tensor, " n"]


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """A fitted plane: ``score = intercept + keep @ effects``."""

    effects: Effects
    intercept: float
    r_squared: float
    """Weighted share of the variance explained, at most 1; 1 where there is none to explain."""


def ridge(
    keep: Keep, scores: Float32[Tensor, " n"], weights: RowWeights, *, penalty: float
) -> Line:
    """Fit weighted ridge regression with an unpenalised intercept.

    Minimises ``sum w (y - b - x e)^2 + penalty |e|^2`` by its normal equations; ``penalty`` above
    0 makes them regular for any rows.
    """
    x, y = keep.double(), scores.double()
    share = weights / weights.sum()
    x_mean, y_mean = share @ x, share @ y
    # Centring by the weighted means takes the intercept out of the problem.
    x0, y0 = x - x_mean, y - y_mean
    gram = x0.T @ (weights[:, None] * x0)
    gram.diagonal().add_(penalty)
    effects = torch.linalg.solve(gram, x0.T @ (weights * y0))
    residual, spread = share @ (y0 - x0 @ effects) ** 2, share @ y0**2
    r_squared = 1.0 if float(spread) == 0 else 1 - float(residual / spread)
    return Line(effects, float(y_mean - x_mean @ effects), r_squared)


def sharing(
    keep: Keep, scores: Float32[Tensor, " n"], weights: RowWeights, *, nothing: float, whole: float
) -> Effects:
    """Fit effects that share out ``whole - nothing`` exactly (the efficiency axiom).

    Minimises ``sum w (y - nothing - x e)^2`` subject to ``sum e = whole - nothing``. With ``e`` an
    equal share plus a deviation d of sum 0, the constraint is met by the projection ``x - mean x``
    of each row; of several best deviations the smallest is taken, which keeps the sum at 0 and
    treats segments that the rows cannot tell apart alike.
    """
    x, y = keep.double(), scores.double()
    segments = x.shape[1]
    equal = (whole - nothing) / segments
    scale = weights.sqrt()
    design = scale[:, None] * (x - x.mean(dim=1, keepdim=True))
    wanted = scale * (y - nothing - equal * x.sum(dim=1))
    deviation, *_ = np.linalg.lstsq(design.numpy(), wanted.numpy(), rcond=None)
    return torch.from_numpy(deviation - deviation.mean()) + equal
