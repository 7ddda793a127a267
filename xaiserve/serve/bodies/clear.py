"""``details`` of an explanation by CLEAR Image.

Segments go by number; number 0 is the background, all that is in no other. Long values are null
unless the whole map is asked for.
"""

from typing import Annotated, Literal

from pydantic import Field

from xaiserve.explainers.clear_image.parts import (
    Decision,
    Ending,
    Flag,
    Mode,
    RegressionKind,
    ScoreKind,
    Segmenter,
    SegmentKind,
)
from xaiserve.serve.bodies.base import Body, Number, RleBody

Segments = Annotated[list[int], Field(description="Numbers of segments, ascending.")]


class PictureBody(Body):
    """A picture of the model's size, 8 bits a channel."""

    height: int
    width: int
    media_type: Literal["image/png"]
    data: str | None = Field(description="Base64.")


class ContrastBody(Body):
    """What the picture was compared with."""

    provider: str = Field(description="Where it comes from: gan, nearest, file, blur, inpaint.")
    notes: list[str] = Field(description="Which translator, which stored picture.")
    picture: PictureBody


class DifferenceBody(Body):
    """Absolute difference between picture and contrast; 1 is black against white."""

    mean: float
    maximum: float
    picture: PictureBody = Field(description="Grey, 255 being 1.")


class SegmentBody(Body):
    """A part of the picture; pixels are those of the answer's frame."""

    id: int
    kind: SegmentKind
    mask: RleBody
    area_px: int
    area_fraction: float
    box: Annotated[list[int], Field(min_length=4, max_length=4)] = Field(
        description="Top, left, bottom, right, ends exclusive."
    )
    mean_difference: float
    weight: Number = Field(description="Coefficient in the regression; null when it is in none.")
    importance: Number = Field(description="Signed: above 0 it speaks for the target.")
    p_without: Number = Field(description="The model's, with only this segment replaced.")
    p_alone: Number = Field(description="The model's, with all but this segment replaced.")


class SegmentationBody(Body):
    """How the picture was cut, with the values used in the end."""

    segmenter: Segmenter
    retries: int
    high_threshold: Number
    low_threshold: Number
    min_area_px: int | None
    max_felzenszwalb: int | None
    max_other: int | None


class TermBody(Body):
    """One summand: a segment's bit, or the product of two."""

    segments: Segments
    weight: Number


class RegressionBody(Body):
    """The equation that stands for the model around this picture."""

    kind: RegressionKind
    intercept: Number
    terms: list[TermBody]
    score: Number
    score_type: ScoreKind
    accuracy: float = Field(description="Weighted share of rows on the model's side.")
    p: Number = Field(description="What it says for the picture itself.")
    centering_gap: Number = Field(description="Between that and the model.")
    ridge: float
    centering_rounds: int


class CounterfactualBody(Body):
    """Segments whose replacement by the contrast flips the decision; no fewer of them do."""

    segments: Segments
    p: float = Field(description="The model's probability after the replacement.")
    p_regression: float
    fidelity_error: float = Field(description="Absolute difference of the two.")


class CauseBody(Body):
    """Segments that alone bring the probability to ``tau``."""

    segments: Segments
    p: float


class RowsBody(Body):
    """The rows of the regression, in one order."""

    shown: list[str] = Field(description="A character per segment, 1 where it shows the picture.")
    weights: list[float]
    p: list[float]
    p_regression: list[Number]


class NeighbourhoodBody(Body):
    """What the regression was fitted to."""

    rows: int
    weight: float
    mean_error: Number
    max_error: Number
    values: RowsBody | None


class LatticeBody(Body):
    """Exact answers from all masks, where segments are few; not part of the published method."""

    masks: int
    shapley: list[float] = Field(description="Per segment, background first; sum is p1 - p0.")
    sufficient: list[Segments]
    counterfactuals: list[Segments]
    mean_error: Number = Field(description="Between regression and model, over all masks.")
    max_error: Number
    values: list[float] | None = Field(
        description="The model's; bit i of the index says whether segment i shows the picture."
    )


class ClearDetailsBody(Body):
    """What CLEAR Image says: why this probability rather than the contrast picture's."""

    headline: str
    summary: list[str] = Field(description="The findings in sentences.")
    ending: Ending
    flags: list[Flag]
    warnings: list[str] = Field(description="Each flag as a sentence, in the same order.")
    mode: Mode
    p1: float = Field(description="The model's probability of the target for the picture.")
    p0: float = Field(description="The same for the contrast picture.")
    boundary: float
    decision: Decision
    contrast: ContrastBody
    difference: DifferenceBody
    leakage: float = Field(description="Share of the difference outside all segments.")
    segmentation: SegmentationBody
    segments: list[SegmentBody]
    regression: RegressionBody
    counterfactuals: list[CounterfactualBody]
    counterfactual_depth: int
    fidelity_mean: Number
    fidelity_max: Number
    tau: float
    sufficient_regression: list[CauseBody]
    sufficient_verified: list[CauseBody]
    overdetermined: bool = Field(description="At least two single segments are sufficient.")
    neighbourhood: NeighbourhoodBody
    lattice: LatticeBody | None
    queries_issued: int
    queries_distinct: int
