"""What MultiReX returns."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float32
from scipy import ndimage
from torch import Tensor

from xaiserve.explainers.base import Explanation
from xaiserve.explainers.multirex.responsibility import SearchStatistics
from xaiserve.perturb.plan import Goal, Verdicts
from xaiserve.types import Region, Saliency

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
class ContrastiveSet:
    """Pixels that alone keep the label and without which the rest loses it.

    Parameters
    ----------
    found
        False when the search met none; then ``mask`` is empty and nothing below is known.
    mask
        (h, w) True inside.
    area_px, area_fraction
        Size in pixels and as a share of the picture.
    confidence
        The target's score with only these pixels visible.
    rest_class, rest_confidence
        What is decided for the rest of the picture without them, and with which score.
    ranked_px
        Length of the ranking's prefix at which the walk first succeeded; 0 for a union.
    members
        The explanations, by index, whose union it is; empty for a prefix of the ranking.
    """

    found: bool
    mask: Region
    area_px: int
    area_fraction: float
    confidence: float | None = None
    rest_class: int | None = None
    rest_confidence: float | None = None
    ranked_px: int = 0
    members: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CompleteSet:
    """A contrastive set with what it lacks to the whole image's confidence.

    Parameters
    ----------
    found
        False when there is no contrastive set to begin with; then the masks are empty.
    mask
        (h, w) True inside, the adjustment included.
    adjustment
        (h, w) The pixels that were added, from the bottom of the ranking; may be empty.
    area_px, area_fraction
        Size of ``mask`` in pixels and as a share of the picture.
    confidence
        The target's score with only ``mask`` visible.
    adjustment_class, adjustment_confidence
        What is decided for the adjustment alone, and with which score; none when it is empty.
    """

    found: bool
    mask: Region
    adjustment: Region
    area_px: int
    area_fraction: float
    confidence: float | None = None
    adjustment_class: int | None = None
    adjustment_confidence: float | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Curves:
    """The target's score as the ranking's pixels come (insertion) and go (deletion).

    Parameters
    ----------
    step_px
        Pixels from point to point; the first point is one step from the start.
    insertion, deletion
        (n,) Scores with the first 1, 2, ..., n steps visible, and hidden.
    insertion_auc, deletion_auc
        Area by Simpson's rule over (whole image's confidence x pixels); may exceed 1.
    insertion_mean, deletion_mean
        Mean of the scores.
    """

    step_px: int
    insertion: Float32[Tensor, " n"]
    deletion: Float32[Tensor, " n"]
    insertion_auc: float
    deletion_auc: float
    insertion_mean: float
    deletion_mean: float


@dataclass(slots=True, eq=False, kw_only=True)
class Extras:
    """What the options ask for besides the sets, noted as it is found so that a stop keeps it.

    Parameters
    ----------
    robustness
        Of each explanation, in order; empty until all are known.
    """

    contrastive: ContrastiveSet | None = None
    complete: CompleteSet | None = None
    contrastive_union: ContrastiveSet | None = None
    curves: Curves | None = None
    robustness: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClassMap:
    """What the mutants that lost the label say about another class."""

    target: int
    saliency: Saliency


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """What one stage of a search has asked.

    Parameters
    ----------
    questions
        Rows, those included that were answered without the model.
    rounds
        Times it waited for answers.
    """

    stage: str
    questions: int
    rounds: int


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
        Indices of the largest family with pairwise Dice within the bound; of its smallest sets
        where more than ``max_explanations`` were found.
    exact
        Whether no larger family exists among ``explanations``.
    flat_map
        No iteration found a passing mutant, so that nothing could be ranked.
    trivial
        The bare fill is sufficient already: so may every set be, and nothing was searched.
    concentration_bits
        Kullback-Leibler divergence of a uniform map from this one; none where it is infinite, that
        is where the map has a value of 0 or less.
    contrastive, complete, contrastive_union, curves
        What the options asked for besides; none when not asked, or not reached before a stop.
    class_maps
        Maps of the other classes that mutants were given, with option ``class_maps``.
    statistics
        What the searches behind the map did; none when nothing was searched.
    costs
        What each stage has asked.
    notes
        Where the search had to depart from the options.
    """

    confidence: float
    explanations: tuple[SufficientSet, ...]
    selected: tuple[int, ...]
    exact: bool
    flat_map: bool
    trivial: bool
    concentration_bits: float | None = None
    contrastive: ContrastiveSet | None = None
    complete: CompleteSet | None = None
    contrastive_union: ContrastiveSet | None = None
    curves: Curves | None = None
    class_maps: tuple[ClassMap, ...] = ()
    statistics: SearchStatistics | None = None
    costs: tuple[StageCost, ...] = ()
    notes: tuple[str, ...] = ()


def empty_set(shape: tuple[int, int], blank: Verdicts, goal: Goal) -> SufficientSet:
    """Describe the set without pixels, which ``blank`` says is sufficient."""
    return sufficient_set(torch.zeros(shape, dtype=torch.bool), blank, goal, "empty")
