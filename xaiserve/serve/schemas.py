"""The bodies of the HTTP interface."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from xaiserve.report.subject import FrameName
from xaiserve.serve.bodies import Body, Number, RleBody, Size
from xaiserve.serve.clear_bodies import ClearDetailsBody


class ClassBody(Body):
    """One class of a model."""

    index: int
    label: str


class ScoreBody(ClassBody):
    """One class and the score of the picture for it."""

    score: Number


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
    notes: list[str] = Field(default=[], description="What was converted on the way in.")


class PredictBody(Body):
    """The answer to a predict request."""

    model: str
    model_digest: str
    image_id: str
    decided: list[ClassBody] = Field(
        description="The class ranked first, or every class that reaches its threshold."
    )
    scores: list[ScoreBody] = Field(description="The first classes, best first.")
    notes: list[str] = Field(default=[])


class ModelsBody(Body):
    """The models served (KServe v1)."""

    models: list[str]


class ModelBody(Body):
    """One model: KServe v1's fields, then ours."""

    name: str
    ready: bool
    digest: str
    height: int
    width: int
    channels: int
    activation: str
    thresholds: list[float] = Field(description="Empty when the decision is arg-max.")
    labels: list[str]
    device: str
    batch_rows: int
    contrasts: list[str] = Field(
        description="Where contrast pictures may come from; the first is used unasked, unless it "
        "is ``upload``: then the model has none of its own."
    )
    contrast_digest: str | None = Field(
        default=None,
        description="Of what makes the model's own contrast pictures, once they were asked for.",
    )
    in_flight: int = Field(description="Plans at work in the replica that answered.")
    specification: dict[str, Any] = Field(  # Any: JSON
        description="All that is known of the model besides its weights, as in xaiserve.json."
    )


class MethodBody(Body):
    """One method and the JSON Schema of its parameters."""

    name: str
    version: int
    about: str
    needs_gradients: bool
    needs_contrast: bool = Field(
        description="It compares the image with a contrast picture: the model's own, or one that "
        "the request brings."
    )
    presets: dict[str, dict[str, Any]] = Field(
        description="Values of parameters by the name that ``preset`` takes."
    )
    parameters: dict[str, Any]  # Any: JSON Schema


class MethodsBody(Body):
    """The methods that can be asked for."""

    methods: list[MethodBody]


class HealthBody(Body):
    """The service runs."""

    status: Literal["ok"] = "ok"


class ReadyBody(Body):
    """Every model answers."""

    ready: Literal[True] = True
    models: list[str]


class ProblemBody(BaseModel):
    """An error, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    request_id: str | None = Field(default=None, description="The request's ``X-Request-ID``.")
