"""Occlusion: how far the target's score falls when one cell of a grid is hidden.

M. D. Zeiler and R. Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014,
section 4.2.

Deviations:

1. Cells tile the image instead of sliding over it, so that each pixel belongs to one cell and the
   cost is known beforehand.
2. The fill is the model's neutral colour by default; the paper's grey square is ``fill="grey"``.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from xaiserve.explainers.base import Explanation
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case
from xaiserve.perturb.fills import FillKind, make_fill
from xaiserve.perturb.plan import QueryPlan, ask
from xaiserve.perturb.query import Mix, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.perturb.segment import grid_labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Occlusion:
    """Measure the score drop per grid cell; ``cells**2 + 1`` model inputs, in one round.

    Saliency is signed: below 0 where hiding the cell raises the score.
    """

    name: ClassVar[str] = "occlusion"
    version: ClassVar[int] = 1

    cells: int = param(
        8,
        "Cells along each side, at most the image's shorter side in pixels",
        low=1,
        high=64,
        source="ours",
    )
    fill: FillKind = param("neutral", "What hides a cell", source="ours")
    grey: float = param(
        0.5, "Intensity when the fill is grey", low=0, high=1, source="Zeiler and Fergus 2014"
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def plan(self, case: Case, keys: Keys) -> QueryPlan[Explanation]:  # noqa: ARG002 -- draws nothing
        labels = grid_labels(case.height, case.width, self.cells)
        scene = Scene(case.image, make_fill(self.fill, case, grey=self.grey))

        # Row 0 is the untouched image; row i hides cell i - 1.
        hidden = torch.eye(self.cells**2, dtype=torch.bool)
        keep = torch.cat([torch.ones_like(hidden[:1]), ~hidden])
        scores = (yield from ask(Mix(scene, labels, keep)))[:, case.target]

        return Explanation(
            image_id=case.image_id,
            explainer=self.name,
            target=case.target,
            saliency=(scores[0] - scores[1:])[labels],
        )

    def bytes_in_flight(self, case: Case) -> int:
        """Count the two pictures, the labels and the rows of the question."""
        pixels = case.height * case.width
        return 4 * case.image.numel() * 2 + 8 * pixels + 2 * (self.cells**2 + 1) ** 2
