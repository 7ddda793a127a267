"""Extremal perturbations: the region of a given area whose pixels alone excite the class most.

R. Fong, M. Patrick, A. Vedaldi, *Understanding Deep Networks via Extremal Perturbations and Smooth
Masks*, ICCV 2019, arXiv 1910.08485, section 3. Written from the paper alone; the settings are those
of CLEAR Image's comparison (White et al. 2023), where the paper leaves a choice.

For each area a smooth mask m climbs ``logit(m * x) - weight * R(m)``, where R compares the mask's
sorted values with a mask of zeros and ones of that area (equation 3), and m is the smooth maximum
of bumps on a coarse grid (equation 4).

Deviations:

1. A bump is a Gaussian of ``sigma_px``, cut at three of them; the smooth maximum is taken on the
   coarse grid, which is then enlarged bilinearly.
2. R is a mean over the grid, not a sum, so that ``weight`` does not depend on the grid.
3. All areas climb side by side, as rows of one batch; no row sees another.
4. The picture is not moved about (jitter) between steps: nothing is drawn at random.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import torch
from jaxtyping import Float32
from torch import Tensor
from torch.nn import functional

from xaiserve.explainers.base import Explanation
from xaiserve.explainers.baselines._captum import backward_bytes
from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case
from xaiserve.perturb.fills import smoothed
from xaiserve.perturb.plan import Event, Progress, Spent
from xaiserve.perturb.rng import Keys
from xaiserve.types import Images, Saliency, Weights

_PAPER: Final = "Fong et al. 2019"
_CLEAR: Final = "CLEAR Image's comparison, White et al. 2023"
_REACH: Final = 3.0
"""Where a bump is cut, in sigmas."""

Bumps = Float32[Tensor, "n rows columns"]
"""Heights of the bumps of each mask, on the coarse grid, in [0, 1]."""

Pyramid = Float32[Tensor, "levels c h w"]
"""The picture hidden ever more, from not at all to wholly."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class AreaMask:
    """The mask of one area.

    Parameters
    ----------
    area
        The share of the image that was asked for.
    mask
        How much of each pixel is shown, in [0, 1].
    confidence
        The target's score for the picture under the mask.
    """

    area: float
    mask: Saliency
    confidence: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExtremalExplanation(Explanation):
    """A mask per area; ``saliency`` is their sum, smoothed."""

    masks: tuple[AreaMask, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtremalPerturbations:
    """Climb to the mask of each area; ``max_iter + 1`` model inputs per area, all but one twice.

    Saliency is at least 0.
    """

    name: ClassVar[str] = "extremal-perturbations"
    version: ClassVar[int] = 1

    areas: tuple[float, ...] = param(
        (0.025, 0.05, 0.1, 0.2), "Shares of the image", low=0.001, high=1, source=_CLEAR
    )
    hide: Literal["fade", "blur"] = param(
        "fade", "Hidden pixels fade to the neutral colour or are blurred", source=_CLEAR
    )
    num_levels: int = param(
        8,
        "Strengths of hiding between which a pixel is interpolated",
        low=2,
        high=64,
        source=_CLEAR,
    )
    blur_px: float = param(20.0, "Sigma of the strongest blur", low=0.1, high=500, source=_PAPER)
    step_px: int = param(7, "Distance of the mask's bumps", low=1, high=256, source=_CLEAR)
    sigma_px: float = param(21.0, "Sigma of a bump", low=0.1, high=500, source=_CLEAR)
    temperature: float = param(
        0.05, "Of the smooth maximum of bumps", low=1e-3, high=10, source=_PAPER
    )
    max_iter: int = param(800, "Steps of the climb", low=1, high=100_000, source=_CLEAR)
    rate: float = param(0.01, "Size of a step", low=1e-6, high=10, source=_PAPER)
    momentum: float = param(0.9, "Of the climb", low=0, high=0.9999, source=_PAPER)
    weight: float = param(300.0, "Of the area's mismatch at first", low=0, high=1e9, source=_PAPER)
    growth: float = param(
        1.0035, "Factor on that weight after every step", low=1, high=2, source=_PAPER
    )
    smooth: float = param(
        0.09,
        "Sigma of the blur of the summed masks, in shorter sides of the image",
        low=0,
        high=1,
        source=_CLEAR,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.areas:
            raise ValueError("areas must be at least one number, got none")

    def attribute(
        self,
        model: DifferentiableClassifier,
        case: Case,
        keys: Keys,  # noqa: ARG002 -- draws nothing
    ) -> Generator[Event, None, ExtremalExplanation]:
        device, rows = model.device, len(self.areas)
        levels = self._pyramid(case).to(device)
        bump = bump_shape(self.sigma_px / self.step_px).to(device)
        grid = [-(-side // self.step_px) for side in (case.height, case.width)]
        wanted = area_profiles(self.areas, grid[0] * grid[1]).to(device)

        heights = torch.ones(rows, *grid, device=device)
        speed = torch.zeros_like(heights)
        weight = self.weight
        for done in range(self.max_iter):
            with torch.enable_grad():
                heights.requires_grad_()
                coarse = smooth_masks(heights, bump, self.temperature)
                shown = hidden(levels, enlarged(coarse, case.height, case.width))
                # Equation 2: what the class makes of the shown part, less the area's mismatch.
                gain = model.logits(shown)[:, case.target].sum()
                (slope,) = torch.autograd.grad(
                    gain - weight * mismatch(coarse, wanted).sum(), heights
                )
            speed = self.momentum * speed + slope
            heights = (heights.detach() + self.rate * speed).clamp(0, 1)
            weight *= self.growth
            yield Spent(rows=rows)
            yield Progress("steps", done + 1, self.max_iter)

        masks = enlarged(smooth_masks(heights, bump, self.temperature), case.height, case.width)
        with torch.no_grad():
            scores = model.spec.probabilities(model.logits(hidden(levels, masks)))
        yield Spent(rows=rows)
        return self._explanation(case, masks.cpu(), scores[:, case.target].tolist())

    def _pyramid(self, case: Case) -> Pyramid:
        if self.hide == "fade":
            return torch.stack([case.image, case.neutral.expand_as(case.image)])
        sigmas = torch.linspace(0, self.blur_px, self.num_levels).tolist()
        return torch.stack([smoothed(case.image, sigma) for sigma in sigmas])

    def _explanation(
        self, case: Case, masks: Weights, confidences: Sequence[float]
    ) -> ExtremalExplanation:
        sigma = self.smooth * min(case.height, case.width)
        return ExtremalExplanation(
            image_id=case.image_id,
            explainer=self.name,
            target=case.target,
            saliency=smoothed(masks.sum(dim=0, keepdim=True), sigma)[0],
            masks=tuple(
                AreaMask(area=float(area), mask=mask, confidence=confidence)
                for area, mask, confidence in zip(self.areas, masks, confidences, strict=True)
            ),
        )

    def bytes_in_flight(self, case: Case) -> int:
        """Bound one pass forward and back of a row per area, and the pyramid."""
        rows = len(self.areas)
        pyramid = 4 * case.image.numel() * self.num_levels
        return backward_bytes(case, rows=rows) + pyramid


def bump_shape(sigma: float) -> Float32[Tensor, "k k"]:
    """Sample a bump on the grid: 1 in the middle, a Gaussian of ``sigma`` cells around it."""
    reach = max(1, int(_REACH * sigma))
    away = torch.arange(-reach, reach + 1, dtype=torch.float32)
    line = torch.exp(-(away**2) / (2 * sigma**2))
    return torch.outer(line, line)


def smooth_masks(heights: Bumps, bump: Float32[Tensor, "k k"], temperature: float) -> Bumps:
    """Take the smooth maximum of all bumps at every place of the grid, equation 4."""
    n, rows, columns = heights.shape
    around = functional.unfold(heights.unsqueeze(1), bump.shape[0], padding=bump.shape[0] // 2)
    bumps = around * bump.reshape(1, -1, 1)
    return (bumps * (bumps / temperature).softmax(dim=1)).sum(dim=1).view(n, rows, columns)


def area_profiles(areas: Sequence[float], cells: int) -> Float32[Tensor, "n cells"]:
    """List, per area, the sorted values of a mask that shows that share of the cells, wholly."""
    places = torch.arange(cells) + 0.5
    return torch.stack([(places > (1 - area) * cells).float() for area in areas])


def mismatch(masks: Bumps, wanted: Float32[Tensor, "n cells"]) -> Float32[Tensor, " n"]:
    """Compare the sorted values of masks with those of masks of the areas asked for, equation 3."""
    return (masks.flatten(1).sort(dim=1).values - wanted).square().mean(dim=1)


def enlarged(masks: Bumps, height: int, width: int) -> Weights:
    """Enlarge masks to the size of the image, bilinearly."""
    large = functional.interpolate(masks.unsqueeze(1), (height, width), mode="bilinear")
    return large[:, 0]


def hidden(levels: Pyramid, masks: Weights) -> Images:
    """Hide every pixel as its mask says: 1 shows it, 0 is the last level, linear in between."""
    depth = (1 - masks) * (len(levels) - 1)
    number = torch.arange(len(levels), device=levels.device).view(-1, 1, 1, 1)
    shares = (1 - (depth - number).abs()).clamp(min=0)
    return torch.einsum("lnhw,lchw->nchw", shares, levels)
