"""What MultiReX returns."""

from dataclasses import dataclass
from typing import Literal

import torch
from scipy import ndimage

from xaiserve.explainers.base import Explanation
from xaiserve.perturb.plan import Goal, Verdicts
from xaiserve.types import Region

Origin = Literal["global", "spatial", "spotlight", "pool", "pair", "exclude", "empty"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SufficientSet:
    """Pixels that alone, over the fill, keep the label; scored in a batch of one before release.

    Parameters
    ----------
    mask
        (h, w) True inside.
    confidence
        The target's score with only these pixels visible.
    margin
        How far the decision is from flipping; see `xaiserve.models.spec.Rule.margins`.
    area_px, area_fraction
        Size in pixels and as a share of the picture.
    kind
        Where it comes from: the whole map's ranking, discs around its peak, a spotlight's disc,
        the mutants that passed, a pair search, a search of what others left; ``empty`` for a
        classifier that decides for the target on the bare fill.
    components
        Connected parts (sharing a side): few for an object, many for dust.
    ranked_px
        Length of the ranking's prefix, in pixels, at which a walk first succeeded; 0 without walk.
    extended_by
        Pixels added because the prefix, scored alone, had failed.
    pruned_px
        Pixels that pruning took away.
    robustness
        Share of noise pictures on which it keeps the label; none when not measured.
    centre_row, centre_column, radius_px
        The disc of ``spotlight`` and ``spatial``; none for other kinds.
    """

    mask: Region
    confidence: float
    margin: float
    area_px: int
    area_fraction: float
    kind: Origin
    components: int
    ranked_px: int = 0
    extended_by: int = 0
    pruned_px: int = 0
    robustness: float | None = None
    centre_row: int | None = None
    centre_column: int | None = None
    radius_px: int | None = None


def sufficient_set(
    mask: Region, alone: Verdicts, goal: Goal, kind: Origin, **more: int
) -> SufficientSet:
    """Describe a set that one row of ``alone`` has verified."""
    area = int(mask.sum())
    return SufficientSet(
        mask=mask,
        confidence=float(alone.confidence[0]),
        margin=float(goal.rule.margins(alone.scores[:1], goal.target)[0]),
        area_px=area,
        area_fraction=area / mask.numel(),
        kind=kind,
        components=count_components(mask),
        **more,
    )


def count_components(mask: Region) -> int:
    """Count the connected parts of a set of pixels; neighbours share a side."""
    return int(ndimage.label(mask.numpy())[1])


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MultiRexExplanation(Explanation):
    """A responsibility map and the sufficient sets found beside it.

    Parameters
    ----------
    saliency
        The responsibility map, largest value 1; all zero when ``flat_map``.
    confidence
        The target's score for the whole image.
    explanations
        The sets found, each verified alone.
    selected
        Indices of the largest family with pairwise Dice within the bound.
    exact
        Whether no larger family exists among ``explanations``.
    flat_map
        No iteration found a passing mutant, so that nothing could be ranked.
    trivial
        The bare fill is sufficient already: so may every set be, and nothing was searched.
    """

    confidence: float
    explanations: tuple[SufficientSet, ...]
    selected: tuple[int, ...]
    exact: bool
    flat_map: bool
    trivial: bool


def empty_set(shape: tuple[int, int], blank: Verdicts, goal: Goal) -> SufficientSet:
    """Describe the set without pixels, which ``blank`` says is sufficient."""
    return sufficient_set(torch.zeros(shape, dtype=torch.bool), blank, goal, "empty")
