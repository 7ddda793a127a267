"""The answer to an explain request, and what it is made of."""

from typing import Any, Literal

from pydantic import Field

from xaiserve.report.subject import FrameName
from xaiserve.serve.bodies.base import Body, Number, RleBody, Size
from xaiserve.serve.bodies.clear import ClearDetailsBody
from xaiserve.serve.bodies.scores import ClassBody, ScoreBody


class CostBody(Body):
    """What the method has spent; the one input that scores the whole picture is not in it."""

    model_inputs: int
    repeated_questions: int
    batches: int
    device_seconds: float
    wall_seconds: float
    waited_seconds: float = Field(description="Time spent waiting for a place in the queue.")


class FrameBody(Body):
    """Where the pixels of masks and saliency lie.

    A point (x, y) of the upright original is at (x * scaled_width / original_width - left,
    y * scaled_height / original_height - top) in the model's input.
    """

    name: FrameName
    height: int
    width: int
    original_height: int
    original_width: int
    scaled_height: int
    scaled_width: int
    top: int
    left: int


class AnnouncedBody(Body):
    """A set of pixels that keeps the label when it alone is shown."""

    mask: RleBody
    area_px: int = Field(description="Pixels of the mask, in the frame of the answer.")
    area_fraction: float
    confidence: Number = Field(description="The target's score with only these pixels shown.")
    kind: str
    details: dict[str, Any] = Field(description="What else the method says, in model pixels.")


class SetBody(AnnouncedBody):
    """The same in the whole answer."""

    selected: bool = Field(description="In the largest family of sets that overlap little.")


class PointBody(Body):
    """One pixel."""

    row: int
    column: int


class SaliencyBody(Body):
    """The map: a summary, and on request all of it."""

    shape: Size
    minimum: Number
    maximum: Number
    peak: PointBody = Field(description="The most important pixel, the first of equals.")
    dtype: Literal["<f4"] | None = None
    data: str | None = Field(default=None, description="Base64 of the values, row by row.")


class OverlayBody(Body):
    """One picture for people."""

    kind: Literal["overlay", "contrast"]
    media_type: Literal["image/png"] = "image/png"
    data: str = Field(description="Base64.")


class ExplainBody(Body):
    """The answer to an explain request."""

    outcome: Literal["explained", "none"] = Field(
        description="``none``: the method has no answer for this picture; ``reason`` says why."
    )
    reason: str | None = None
    complete: bool = Field(description="False when a spent budget ended the search early.")
    stopped: Literal["inputs", "seconds", "cancelled"] | None = None
    cached: bool = Field(
        default=False,
        description="An equal request was answered before: this one cost no model input, ``cost`` "
        "is what the first had cost.",
    )
    model: str
    model_digest: str
    method: str
    version: int
    parameters: dict[str, Any]  # Any: JSON values of the method's own parameters
    seed: int
    target: ClassBody
    image_id: str = Field(description="Sha256 of the file's bytes.")
    name: str = Field(description="The file's name, where it came with one.")
    confidence: Number = Field(description="The target's score for the whole picture.")
    scores: list[ScoreBody] = Field(description="The five classes ranked first.")
    explanations: list[SetBody] = Field(default=[])
    selected: list[int] = Field(default=[], description="Indices into ``explanations``.")
    saliency: SaliencyBody | None = None
    # From left to right: the first that fits. Bodies are closed, so that nothing else fits one.
    details: ClearDetailsBody | dict[str, Any] = Field(
        default={}, union_mode="left_to_right", description="What else the method says."
    )
    overlays: list[OverlayBody] = Field(default=[])
    frame: FrameBody
    cost: CostBody
    notes: list[str] = Field(
        default=[], description="What was converted on the way in, and options without effect."
    )
