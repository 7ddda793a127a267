"""RISE: the mean of random soft masks, weighted by the score of what each one shows.

V. Petsiuk, A. Das, K. Saenko, *RISE: Randomized Input Sampling for Explanation of Black-box
Models*, BMVC 2018, arXiv 1806.07421, sections 3.1 and 3.2.

Deviations:

1. Each weighting has random numbers of its own, named by its index, so that a longer run extends a
   shorter one.
2. A run that is stopped returns the estimate from the weightings scored so far.

The estimate is noisy where the score stays high whatever is hidden: on such a photograph two maps
of 1000 weightings each correlated at 0.37 (MobileNetV2).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from torch.nn import functional

from xaiserve.explainers.base import Explanation
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case
from xaiserve.perturb.fills import FillKind, make_fill
from xaiserve.perturb.plan import Progress, QueryPlan, Stop, ask
from xaiserve.perturb.query import Blend, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Weights

ROUND_ROWS: Final = 128
"""Weightings per question: 26 MB at 224 x 224, and as much again while they are made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rise:
    """Estimate the expected score given that a pixel is shown; ``samples`` model inputs.

    Saliency is an expected score: in [0, 1] for a probability, but for sampling noise. Only its
    differences within one image mean anything.
    """

    name: ClassVar[str] = "rise"
    version: ClassVar[int] = 1

    samples: int = param(
        4000,
        "Random weightings, each one model input",
        low=1,
        high=100_000,
        source="Petsiuk et al. 2018, section 4: 4000 for VGG-16, 8000 for ResNet-50",
    )
    cells: int = param(
        7,
        "Cells along each side of the coarse random grid",
        low=1,
        high=64,
        source="Petsiuk et al. 2018, section 4",
    )
    shown: float = param(
        0.5,
        "Probability that a cell shows the image",
        low=0.01,
        high=0.99,
        source="Petsiuk et al. 2018, section 4",
    )
    fill: FillKind = param(
        "neutral", "What is blended in where a cell is hidden", source="Petsiuk et al. 2018"
    )
    grey: float = param(0.5, "Intensity when the fill is grey", low=0, high=1, source="ours")

    def __post_init__(self) -> None:
        check_fields(self)

    def plan(self, case: Case, keys: Keys) -> QueryPlan[Explanation]:
        scene = Scene(case.image, make_fill(self.fill, case, grey=self.grey))
        total = torch.zeros(case.height, case.width, dtype=torch.float64)
        done = 0
        try:
            for weights in self._rounds(case, keys):
                scores = yield from ask(Blend(scene, weights))
                # Equation 6: the sum over masks M of f(I * M) M(pixel), divided below.
                total += torch.tensordot(scores[:, case.target], weights, dims=1)
                done += len(weights)
                yield Progress("weightings", done, self.samples)
        except Stop:
            if done == 0:
                raise
        return Explanation(
            image_id=case.image_id,
            explainer=self.name,
            target=case.target,
            saliency=(total / (done * self.shown)).float(),
        )

    def _rounds(self, case: Case, keys: Keys) -> Iterator[Weights]:
        for start in range(0, self.samples, ROUND_ROWS):
            rows = range(start, min(start + ROUND_ROWS, self.samples))
            yield random_weights(
                [keys.child("weighting", row) for row in rows],
                (case.height, case.width),
                cells=self.cells,
                shown=self.shown,
            )

    def bytes_in_flight(self, case: Case) -> int:
        """Count the pictures, one round of weightings, the grids it is cut from, and the sum."""
        pixels = case.height * case.width
        rows = min(ROUND_ROWS, self.samples)
        enlarged = ((self.cells + 1) / self.cells) ** 2
        return int(4 * rows * pixels * (1 + enlarged)) + 8 * case.image.numel() + 8 * pixels


def random_weights(keys: list[Keys], size: tuple[int, int], *, cells: int, shown: float) -> Weights:
    """Draw one soft mask (h, w) in [0, 1] per key (section 3.2).

    A coarse grid of independent bits is enlarged bilinearly to one cell more than the picture, and
    cut out of that at a random offset of up to one cell.
    """
    height, width = size
    tall, wide = -(-height // cells), -(-width // cells)
    drawn = [key.generator() for key in keys]
    bits = torch.stack([torch.from_numpy(g.random((cells, cells)) < shown) for g in drawn])
    offsets = [(int(g.integers(tall)), int(g.integers(wide))) for g in drawn]
    large = functional.interpolate(
        bits.float().unsqueeze(1),
        size=((cells + 1) * tall, (cells + 1) * wide),
        mode="bilinear",
        align_corners=False,
    ).squeeze(1)
    cut = [
        grid[top : top + height, left : left + width]
        for grid, (top, left) in zip(large, offsets, strict=True)
    ]
    return torch.stack(cut)
