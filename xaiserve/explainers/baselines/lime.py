"""LIME: a linear model of the score, fitted to random subsets of the image's superpixels.

M. T. Ribeiro, S. Singh, C. Guestrin, *"Why Should I Trust You?": Explaining the Predictions of Any
Classifier*, KDD 2016, arXiv 1602.04938, sections 3.2 to 3.4. Defaults are those of the authors'
``lime`` package, 0.2.0.1, `LimeImageExplainer`.

Deviations from the package:

1. No selection of the K strongest features before the fit: every segment keeps its coefficient.
2. Only the target's score is explained, so that one fit is made.
3. A run that is stopped fits the rows scored so far.
"""

from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import torch
from jaxtyping import Float32
from torch import Tensor

from xaiserve.explainers.base import Explanation
from xaiserve.explainers.baselines._regression import RowWeights, ridge
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case
from xaiserve.perturb.fills import make_fill, segment_means
from xaiserve.perturb.plan import Progress, QueryPlan, Stop, ask
from xaiserve.perturb.query import Mix, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.perturb.segment import (
    QUICKSHIFT_KERNEL_PX,
    Segmentation,
    segment_count,
    superpixels,
)
from xaiserve.types import Image, Keep, Labels

ROUND_ROWS: Final = 256
PACKAGE: Final = "lime 0.2.0.1"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LimeExplanation(Explanation):
    """The fitted linear model; ``saliency`` paints each segment with its effect."""

    labels: Labels
    effects: Float32[Tensor, " s"]
    """What showing each segment adds to the score; signed."""

    intercept: float
    r_squared: float
    """Weighted share of the variance that the model explains, at most 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lime:
    """Fit a weighted ridge regression on which superpixels are shown; ``samples`` model inputs.

    Saliency is signed: below 0 where showing the segment lowers the score.
    """

    name: ClassVar[str] = "lime"
    version: ClassVar[int] = 1

    samples: int = param(
        1000,
        "Random subsets of segments, the whole image first, each one model input",
        low=2,
        high=100_000,
        source=PACKAGE,
    )
    segmentation: Segmentation = param(
        "quickshift", "How the image is cut into segments", source=PACKAGE
    )
    segments: int = param(
        50, "About how many segments slic and grid make", low=1, high=1000, source="ours"
    )
    kernel_px: float = param(
        QUICKSHIFT_KERNEL_PX,
        "Width of quickshift's kernel: wider makes fewer segments and takes longer",
        low=1,
        high=100,
        source=PACKAGE,
    )
    fill: Literal["segment-mean", "neutral", "grey", "mean", "blur"] = param(
        "segment-mean", "What hides a segment", source=PACKAGE
    )
    grey: float = param(0.5, "Intensity when the fill is grey", low=0, high=1, source="ours")
    kernel_width: float = param(
        0.25, "Width of the kernel on the cosine distance", low=0.01, high=100, source=PACKAGE
    )
    penalty: float = param(1.0, "Ridge penalty on the effects", low=1e-6, high=1e6, source=PACKAGE)

    def __post_init__(self) -> None:
        check_fields(self)

    def plan(self, case: Case, keys: Keys) -> QueryPlan[LimeExplanation]:
        labels = superpixels(
            case.image,
            self.segmentation,
            segments=self.segments,
            keys=keys.child("segments"),
            kernel_px=self.kernel_px,
        )
        scene = Scene(case.image, self._fill(case, labels))
        keep = random_subsets(self.samples, segment_count(labels), keys.child("subsets"))

        # Algorithm 1, the loop that collects Z, here with many samples per question.
        found: list[Tensor] = []
        done = 0
        try:
            for rows in torch.split(keep, ROUND_ROWS):
                scores = yield from ask(Mix(scene, labels, rows))
                found.append(scores[:, case.target])
                done += len(rows)
                yield Progress("subsets", done, self.samples)
        except Stop:
            if done == 0:
                raise

        keep = keep[:done]
        line = ridge(
            keep, torch.cat(found), proximity(keep, self.kernel_width), penalty=self.penalty
        )
        effects = line.effects.float()
        return LimeExplanation(
            image_id=case.image_id,
            explainer=self.name,
            target=case.target,
            saliency=effects[labels],
            labels=labels,
            effects=effects,
            intercept=line.intercept,
            r_squared=line.r_squared,
        )

    def _fill(self, case: Case, labels: Labels) -> Image:
        if self.fill == "segment-mean":
            return segment_means(case.image, labels)
        return make_fill(self.fill, case, grey=self.grey)

    def bytes_in_flight(self, case: Case) -> int:
        """Count the pictures, the labels, and the subsets, four times over in float64 for the fit.

        The number of segments is not known before the image is cut; quickshift and felzenszwalb
        give about a hundred on photographs.
        """
        pixels = case.height * case.width
        return 8 * case.image.numel() + 32 * pixels + 40 * self.samples * max(self.segments, 100)


def random_subsets(samples: int, segments: int, keys: Keys) -> Keep:
    """Show each segment with probability one half; row 0 shows them all."""
    keep = torch.from_numpy(keys.generator().random((samples, segments)) < 0.5)  # noqa: PLR2004
    keep[0] = True
    return keep


def proximity(keep: Keep, kernel_width: float) -> RowWeights:
    """Weigh each row by its closeness to the whole image (the package's kernel).

    With d the cosine distance of the row to all ones, ``1 - sqrt(kept / segments)``, the weight is
    ``sqrt(exp(-d^2 / width^2))``: the square root of the paper's pi_x.
    """
    distance = 1 - keep.double().mean(dim=1).sqrt()
    return torch.exp(-(distance**2) / (2 * kernel_width**2))
