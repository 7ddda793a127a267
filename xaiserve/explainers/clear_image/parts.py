"""The parts of what CLEAR Image returns.

Segments go by their number in the label map; number 0 is the background, all that is in no other.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float64, UInt8
from torch import Tensor

Mode = Literal["strict", "parity"]
SegmentKind = Literal["high", "low", "superpixel", "supplied", "background"]
Segmenter = Literal["gan_diff", "gan_xray", "felzenszwalb", "quickshift", "supplied"]
RegressionKind = Literal["logistic", "multiple"]
ScoreKind = Literal["aic", "pseudo-r2", "adjusted-r2"]
Decision = Literal["boundary", "argmax", "threshold"]
Ending = Literal["complete", "stopped"]
Flag = Literal[
    "contrast_not_flipped",
    "low_probability",
    "leakage",
    "poor_data",
    "no_counterfactual",
    "perfect_separation",
    "background_too_large",
    "not_centred",
]

SegmentSet = tuple[int, ...]
"""Numbers of segments, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of the picture, and what the regression and the classifier say about it.

    Parameters
    ----------
    id
        Its number in the label map.
    kind
        A strong difference between image and contrast, a weak but extended one, a superpixel, one
        of a supplied map, or the background.
    area_px
        Its pixels; a superpixel map has none in the background.
    box
        Top, left, bottom, right in pixels, ends exclusive.
    mean_difference
        Mean absolute difference between image and contrast inside it.
    weight
        Its coefficient in the regression; none when it is not in the equation by itself.
    importance
        Its weight and half of each product it is in; 0 when it is in no term.
    p_without, p_alone
        The classifier's probability with only this segment replaced by the contrast, and with
        everything but this segment replaced; none where it was not asked.
    """

    id: int
    kind: SegmentKind
    area_px: int
    box: tuple[int, int, int, int]
    mean_difference: float
    weight: float | None = None
    importance: float = 0.0
    p_without: float | None = None
    p_alone: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """How the picture was cut, with the values that were used in the end.

    Parameters
    ----------
    segmenter
        The algorithm.
    retries
        Times it was cut anew, coarser, because no counterfactual had been found.
    high_threshold, low_threshold
        Differences above which a pixel belongs to a strong, and to a weak, segment.
    min_area_px
        Fewest pixels of a segment.
    max_felzenszwalb, max_other
        Most parts of the largest weak segments, and most other weak segments (``gan_xray``).
    """

    segmenter: Segmenter
    retries: int = 0
    high_threshold: float | None = None
    low_threshold: float | None = None
    min_area_px: int | None = None
    max_felzenszwalb: int | None = None
    max_other: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One summand of the regression: a segment's bit, or the product of two bits."""

    segments: SegmentSet
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """The equation that stands for the classifier around this image.

    Logistic: p is the logistic function of ``intercept`` plus the weights of the terms all of whose
    segments show the image. Multiple: p is that sum.

    Parameters
    ----------
    terms
        Those that counterfactuals force in, ascending, then the others in the order of selection.
    score, score_type
        What the terms were selected by.
    accuracy
        Weighted share of the rows where regression and classifier fall on one side of ``boundary``.
    p
        What it says for the image itself.
    centering_gap
        Absolute difference between ``p`` and the classifier's probability of the image.
    ridge
        The penalty on squared weights with which it was fitted; above 1e-10 after perfect
        separation.
    centering_rounds
        Times the image's own weight was doubled to close the gap.
    """

    kind: RegressionKind
    intercept: float
    terms: tuple[Term, ...]
    score: float
    score_type: ScoreKind
    accuracy: float
    p: float
    centering_gap: float
    ridge: float
    centering_rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """Segments whose replacement by the contrast flips the decision; no fewer of them do.

    Parameters
    ----------
    p
        The classifier's probability after the replacement, scored in a batch of one.
    p_regression
        What the regression says.
    fidelity_error
        Absolute difference of the two.
    """

    segments: SegmentSet
    p: float
    p_regression: float
    fidelity_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SufficientCause:
    """Segments that alone bring the probability to ``tau`` or above.

    Parameters
    ----------
    p
        By regression: its value with these shown and all others at their worst. Verified: the
        classifier's probability with all others replaced, scored in a batch of one.
    """

    segments: SegmentSet
    p: float


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Neighbourhood:
    """The distinct masks that the regression was fitted to: the points of the scatter plot.

    Parameters
    ----------
    masks
        (n, s) 1 where the segment shows the image, 0 where it shows the contrast.
    weights
        (n,) How much each counts: its draws, and what counterfactuals and both ends add.
    p, p_regression
        (n,) What the classifier, and the regression, say.
    """

    masks: UInt8[Tensor, "n s"]
    weights: Float64[Tensor, " n"]
    p: Float64[Tensor, " n"]
    p_regression: Float64[Tensor, " n"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Lattice:
    """Exact answers from all masks; not part of the published method.

    Parameters
    ----------
    p
        (2**s,) The classifier's probability; bit i of the index says whether segment i shows the
        image.
    shapley
        (s,) Shapley values of the segments, background included; their sum is ``p1 - p0``.
    sufficient
        Every minimal set that alone reaches ``tau``, background included.
    counterfactuals
        Every minimal set of segments but the background whose replacement flips the decision.
    mean_error, max_error
        Absolute difference between regression and classifier over all masks.
    """

    p: Float64[Tensor, " m"]
    shapley: Float64[Tensor, " s"]
    sufficient: tuple[SegmentSet, ...]
    counterfactuals: tuple[SegmentSet, ...]
    mean_error: float
    max_error: float
