"""In which order patches are tried: the mask that lowers the target's score most, on a coarse grid.

That is I-GOS: Z. Qi, S. Khorram, F. Li, *Visualizing Deep Networks by Optimizing with Integrated
Gradients*, AAAI 2020, arXiv 1905.00954, equations 3 to 6, as the published code of SAG runs it.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.perturb.plan import Event, Progress, Spent
from xaiserve.perturb.query import Scene, enlarged
from xaiserve.perturb.rng import Keys

Grid = Float32[Tensor, "r c"]
"""One value per patch: 1 where the image is shown, 0 where the fill is."""

Descent = Literal["line-search", "adam"]

PIECE_ROWS: Final = 10
"""Rows of one pass forward and back."""

NOISE: Final = 0.2
"""Standard deviation of the noise on every integrated picture, in model-input units."""

LONGEST_STEP: Final = 200.0
SHRINK: Final = 0.2
SHORTEST_STEP: Final = 1e-5
ARMIJO: Final = 1e-4


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Objective:
    """What the mask minimises: the target's score, how much is hidden, and roughness.

    Parameters
    ----------
    scene
        The image, and the fill that shows where the mask is 0.
    hiding
        Weight of the mean hidden share (the L1 term).
    roughness, exponent
        Weight and exponent of the total variation.
    """

    model: DifferentiableClassifier
    scene: Scene
    target: int
    hiding: float
    roughness: float
    exponent: float

    def penalty(self, mask: Grid) -> Tensor:
        down = (mask[1:] - mask[:-1]).abs().pow(self.exponent).mean()
        right = (mask[:, 1:] - mask[:, :-1]).abs().pow(self.exponent).mean()
        return self.hiding * (1 - mask).abs().mean() + self.roughness * (down + right)

    def scores(self, masks: Float32[Tensor, "n r c"], noise: Tensor | None = None) -> Tensor:
        """Score the image under each mask, (n,), on the model's device."""
        _, height, width = self.scene.image.shape
        device, spec = self.model.device, self.model.spec
        both = torch.stack([self.scene.fill, self.scene.image]).to(device)
        fill, image = spec.normalise(both).unsqueeze(1)
        inputs = torch.lerp(fill, image, enlarged(masks.to(device), height, width).unsqueeze(1))
        if noise is not None:
            inputs = inputs + noise.to(device)
        scores: Tensor = spec.probabilities(self.model.module(inputs))[:, self.target]
        return scores

    def value(self, mask: Grid) -> float:
        with torch.no_grad():
            return float(self.penalty(mask) + self.scores(mask.unsqueeze(0)).cpu()[0])

    def integrated_gradient(
        self, mask: Grid, steps: int, draws: np.random.Generator
    ) -> Generator[Event, None, Grid]:
        """Average the gradient over ``steps`` masks from near nothing to ``mask`` (equation 5)."""
        total = gradient(self.penalty, mask)
        for shares in torch.split(torch.arange(1, steps + 1) / steps, PIECE_ROWS):
            noise = draws.normal(0, NOISE, (len(shares), *self.scene.image.shape))
            total = total + gradient(partial(self._piece, shares, noise), mask) / steps
            yield Spent(rows=len(shares))
        return total

    def _piece(self, shares: Tensor, noise: NDArray[np.float64], mask: Grid) -> Tensor:
        noisy = torch.from_numpy(noise.astype(np.float32))
        return self.scores(shares[:, None, None] * mask, noisy).sum()


def gradient(loss: Callable[[Grid], Tensor], mask: Grid) -> Grid:
    """Differentiate ``loss`` at ``mask``."""
    with torch.enable_grad():
        leaf = mask.clone().requires_grad_()
        (found,) = torch.autograd.grad(loss(leaf), leaf)
    return found


def order_mask(
    objective: Objective,
    cells: int,
    keys: Keys,
    *,
    iterations: int,
    steps: int,
    descent: Descent,
    rate: float,
) -> Generator[Event, None, Grid]:
    """Descend from the whole image; the patches that the result hides most matter most.

    Costs per iteration ``steps`` model inputs with gradients, and a line search.
    """
    mask = torch.ones(cells, cells)
    # Made only where it is used: importing it takes a second.
    adam = torch.optim.Adam([mask], lr=rate) if descent == "adam" else None
    for iteration in range(iterations):
        draws = keys.child("noise", iteration).generator()
        slope = yield from objective.integrated_gradient(mask, steps, draws)
        if adam is None:
            mask = yield from line_search(objective, mask, slope)
        else:
            mask.grad = slope
            adam.step()
            mask.clamp_(0, 1)
        yield Progress("ordering", iteration + 1, iterations)
    return mask


def line_search(objective: Objective, mask: Grid, slope: Grid) -> Generator[Event, None, Grid]:
    """Step against ``slope``, as far as lowers the objective enough (revised Armijo condition).

    At most 13 model inputs; the shortest step is taken whatever it does.
    """
    start = objective.value(mask)
    yield Spent(rows=1)
    step, lower = LONGEST_STEP, float(slope.square().sum())
    moved = (mask - step * slope).clamp(0, 1)
    while True:
        value = objective.value(moved)
        yield Spent(rows=1)
        if value <= start - ARMIJO * step * lower:
            return moved
        step *= SHRINK
        moved = (mask - step * slope).clamp(0, 1)
        if step < SHORTEST_STEP:
            return moved
