"""Integrated gradients: each pixel's share of the change of the logit from a baseline to the image.

M. Sundararajan, A. Taly, Q. Yan, *Axiomatic Attribution for Deep Networks*, ICML 2017,
arXiv 1703.01365, equations 1 and 3. Computed by captum.

Deviations:

1. The target's logit is explained, as captum's users commonly do, not its probability.
2. The path is cut into equal pieces, each integrated by Gauss-Legendre nodes of its own, so that
   the method can pause between them; attributions add up along the path, which makes the whole one
   composite rule.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import torch

from xaiserve.explainers.base import Explanation
from xaiserve.explainers.baselines._captum import backward_bytes, captum_attr, model_input
from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case
from xaiserve.perturb.fills import FillKind, make_fill
from xaiserve.perturb.plan import Event, Progress, Spent
from xaiserve.perturb.rng import Keys
from xaiserve.types import Image, Images, Saliency

PIECE_STEPS: Final = 10
"""Steps per piece of the path: rows of one pass forward and back."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class IntegratedGradientsExplanation(Explanation):
    """Attributions per channel beside the map."""

    attributions: Image
    """(c, h, w), signed; the sum is the rise of the logit but for the error of integration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegratedGradients:
    """Integrate the gradient of the target's logit along a straight path; ``steps`` model inputs.

    Saliency sums the channels; its sign is as the parameter ``sign`` says.
    """

    name: ClassVar[str] = "integrated-gradients"
    version: ClassVar[int] = 1

    steps: int = param(
        50,
        "Points of the path at which the gradient is taken, each one model input",
        low=1,
        high=10_000,
        source="captum 0.9; Sundararajan et al. 2017 say 20 to 300",
    )
    fill: FillKind = param(
        "neutral",
        "The baseline: where the path begins",
        source="Sundararajan et al. 2017: a black image",
    )
    grey: float = param(0.5, "Intensity when the fill is grey", low=0, high=1, source="ours")
    sign: Literal["absolute", "positive", "signed"] = param(
        "absolute",
        "What becomes of a pixel's sum over channels: its size, its positive part, or nothing",
        source="Sundararajan et al. 2017, pictures of the authors' repository",
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def attribute(
        self,
        model: DifferentiableClassifier,
        case: Case,
        keys: Keys,  # noqa: ARG002 -- draws nothing
    ) -> Generator[Event, None, IntegratedGradientsExplanation]:
        method = captum_attr(self.name).IntegratedGradients(model.module)
        start = model_input(model, make_fill(self.fill, case, grey=self.grey))
        way = model_input(model, case.image) - start

        total = torch.zeros_like(way)
        done = 0
        for nodes in pieces(self.steps):
            here, there = done / self.steps, (done + nodes) / self.steps
            total += integral(method, start + here * way, start + there * way, case.target, nodes)
            done += nodes
            yield Spent(rows=nodes)
            yield Progress("steps", done, self.steps)

        attributions = total[0].float().cpu()
        return IntegratedGradientsExplanation(
            image_id=case.image_id,
            explainer=self.name,
            target=case.target,
            saliency=self._signed(attributions.sum(dim=0)),
            attributions=attributions,
        )

    def _signed(self, summed: Saliency) -> Saliency:
        match self.sign:
            case "absolute":
                return summed.abs()
            case "positive":
                return summed.clamp(min=0)
            case "signed":
                return summed

    def bytes_in_flight(self, case: Case) -> int:
        """Bound one piece's pass forward and back."""
        return backward_bytes(case, rows=min(PIECE_STEPS, self.steps))


def pieces(steps: int) -> list[int]:
    """Cut ``steps`` into parts of at most `PIECE_STEPS` that differ by at most 1."""
    parts = -(-steps // PIECE_STEPS)
    return [(i + 1) * steps // parts - i * steps // parts for i in range(parts)]


def integral(method: Any, start: Images, end: Images, target: int, nodes: int) -> Images:
    """Attribute the change of the logit from ``start`` to ``end``, equation 1 between the two.

    ``method`` is captum's `IntegratedGradients`, which has no usable stubs.
    """
    with torch.enable_grad():
        found: Images = method.attribute(end, baselines=start, target=target, n_steps=nodes)
    return found.detach()
