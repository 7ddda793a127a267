"""Kernel SHAP: Shapley values of superpixels, by weighted least squares over coalitions.

S. M. Lundberg and S.-I. Lee, *A Unified Approach to Interpreting Model Predictions*, NIPS 2017,
arXiv 1705.07874, section 4.1 and theorem 2.

Deviations:

1. Sums are shared out exactly by a constraint, where the paper gives the whole image and the empty
   one infinite weight: the same limit.
2. Sizes with few coalitions are enumerated and the rest sampled in complementary pairs, as the
   authors' ``shap`` package does; Covert and Lee (AISTATS 2021, arXiv 2012.01536) show why pairs
   help.
3. No selection of features by an L1 penalty, which that package adds by default.
4. A run that is stopped fits the coalitions scored so far.
"""

from dataclasses import dataclass
from typing import ClassVar, Final

import torch
from jaxtyping import Float32
from torch import Tensor

from xaiserve.explainers.base import Explanation
from xaiserve.explainers.baselines._coalitions import coalitions
from xaiserve.explainers.baselines._regression import sharing
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case
from xaiserve.perturb.fills import FillKind, make_fill
from xaiserve.perturb.plan import Progress, QueryPlan, Stop, ask
from xaiserve.perturb.query import Mix, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.perturb.segment import Segmentation, segment_count, superpixels
from xaiserve.types import Labels

ROUND_ROWS: Final = 256


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KernelShapExplanation(Explanation):
    """Shapley values; ``saliency`` paints each segment with its own."""

    labels: Labels
    effects: Float32[Tensor, " s"]
    """Signed; their sum is ``whole - nothing``."""

    whole: float
    """The target's score for the image."""

    nothing: float
    """The target's score for the fill."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelShap:
    """Estimate the Shapley value of each superpixel; at most ``samples`` model inputs.

    Exact when the image has s segments with ``2**s <= samples``. Saliency is signed.
    """

    name: ClassVar[str] = "kernel-shap"
    version: ClassVar[int] = 1

    samples: int = param(
        2048,
        "Model inputs at most: the whole image, the fill, and coalitions between them",
        low=4,
        high=100_000,
        source="shap: 2048 and twice the segments",
    )
    segmentation: Segmentation = param(
        "slic",
        "How the image is cut into segments",
        source="shap, its example on ImageNet superpixels",
    )
    segments: int = param(
        50,
        "About how many segments slic and grid make",
        low=1,
        high=1000,
        source="shap, its example on ImageNet superpixels",
    )
    fill: FillKind = param("neutral", "What hides a segment", source="ours")
    grey: float = param(0.5, "Intensity when the fill is grey", low=0, high=1, source="ours")

    def __post_init__(self) -> None:
        check_fields(self)

    def plan(self, case: Case, keys: Keys) -> QueryPlan[KernelShapExplanation]:
        labels = superpixels(
            case.image, self.segmentation, segments=self.segments, keys=keys.child("segments")
        )
        segments = segment_count(labels)
        scene = Scene(case.image, make_fill(self.fill, case, grey=self.grey))
        keep, weights = coalitions(segments, self.samples - 2, keys.child("coalitions"))

        # The two coalitions whose score the model must meet exactly: everything and nothing.
        ends = torch.tensor([[True], [False]]).expand(2, segments)
        scores = yield from ask(Mix(scene, labels, ends))
        whole, nothing = scores[:, case.target].tolist()
        found: list[Tensor] = [scores[:0, case.target]]
        done = 0
        try:
            for rows in torch.split(keep, ROUND_ROWS):
                scores = yield from ask(Mix(scene, labels, rows))
                found.append(scores[:, case.target])
                done += len(rows)
                yield Progress("coalitions", done, len(keep))
        except Stop:
            if done == 0:
                raise

        effects = sharing(
            keep[:done], torch.cat(found), weights[:done], nothing=nothing, whole=whole
        ).float()
        return KernelShapExplanation(
            image_id=case.image_id,
            explainer=self.name,
            target=case.target,
            saliency=effects[labels],
            labels=labels,
            effects=effects,
            whole=whole,
            nothing=nothing,
        )

    def bytes_in_flight(self, case: Case) -> int:
        """Count the pictures, the labels, and the coalitions, four times over for the fit.

        The number of segments is not known before the image is cut; quickshift and felzenszwalb
        give about a hundred on photographs.
        """
        pixels = case.height * case.width
        return 8 * case.image.numel() + 32 * pixels + 40 * self.samples * max(self.segments, 100)
