"""What CLEAR Image returns; what it is made of is in `parts`."""

from dataclasses import dataclass

from jaxtyping import UInt8
from torch import Tensor

from xaiserve.explainers.base import Explanation
from xaiserve.explainers.clear_image.parts import (
    Counterfactual,
    Decision,
    Ending,
    Flag,
    Lattice,
    Mode,
    Neighbourhood,
    Regression,
    Segment,
    Segmentation,
    SufficientCause,
)
from xaiserve.types import Labels


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ClearExplanation(Explanation):
    """Why this probability rather than the contrast picture's.

    Parameters
    ----------
    saliency
        Signed: every pixel has its segment's importance over the segment's area, background
        included; values within a hundredth of the largest are 0.
    ending
        ``stopped`` when a budget ended it: then the regression is fitted to the masks scored.
    flags, warnings
        What a reader must know, by name, and as one sentence each in the same order.
    mode
        ``strict``, or ``parity`` with the authors' released code.
    p1, p0
        The classifier's probability of the target for the image and for the contrast picture.
    boundary
        The probability at which the decision is drawn where one number says it; see ``decision``.
    decision
        What keeps the label: reaching ``boundary`` (two classes, or set by the user), being the
        top class, or reaching the class's own threshold, which then is ``boundary``.
    contrast
        (c, h, w) The contrast picture in 8 bits, to be shown.
    contrast_provider, contrast_notes
        Where it comes from.
    difference
        (h, w) Absolute difference between image and contrast, 0 to 255, that was segmented.
    leakage
        Share of that difference which lies outside all segments.
    labels
        (h, w) The segment of each pixel.
    segments
        All of them by number, the background first.
    counterfactuals
        The minimal ones up to the depth searched, by size, then by number.
    counterfactual_depth
        Most segments that were replaced together in the search.
    fidelity_mean, fidelity_max
        Over the counterfactuals; none without any.
    tau
        The probability from which a set of segments is sufficient.
    sufficient_regression, sufficient_verified
        Single segments, or pairs where no single one is. None is verified where the contrast
        picture is sufficient by itself.
    overdetermined
        At least two single segments are sufficient, verified by the classifier, and the contrast
        picture loses the label. For parity, by the regression alone.
    lattice
        Exact answers, where the segments are few enough to ask about all masks.
    queries_issued
        Masks that the method asks about, repeats included, as the released code would score them.
    queries_distinct
        Masks that were asked of the classifier.
    """

    ending: Ending
    flags: tuple[Flag, ...]
    warnings: tuple[str, ...]
    mode: Mode
    p1: float
    p0: float
    boundary: float
    decision: Decision
    contrast: UInt8[Tensor, "c h w"]
    contrast_provider: str
    contrast_notes: tuple[str, ...]
    difference: UInt8[Tensor, "h w"]
    leakage: float
    labels: Labels
    segmentation: Segmentation
    segments: tuple[Segment, ...]
    regression: Regression
    counterfactuals: tuple[Counterfactual, ...]
    counterfactual_depth: int
    fidelity_mean: float | None
    fidelity_max: float | None
    tau: float
    sufficient_regression: tuple[SufficientCause, ...]
    sufficient_verified: tuple[SufficientCause, ...]
    overdetermined: bool
    neighbourhood: Neighbourhood
    lattice: Lattice | None
    queries_issued: int
    queries_distinct: int
