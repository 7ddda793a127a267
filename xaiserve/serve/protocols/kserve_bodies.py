"""Bodies of KServe's first protocol."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from xaiserve.parameters import MAX_SEED
from xaiserve.report.subject import FrameName
from xaiserve.serve.bodies.base import Body, Number
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.incoming.requests import Offered

Instances = Annotated[
    list[Any],  # Any: a file in base64, or rows of numbers
    Field(
        min_length=1,
        description='Pictures: files as `{"b64": TEXT}` or `{"image": {"b64": TEXT}}`, or numbers '
        "from 0 to 1 of the model's size, (c, h, w) or (h, w, c).",
    ),
]


class PredictInstancesBody(BaseModel):
    """Pictures to score together; other members are those of servers that we are not."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    instances: Instances


class PredictionsBody(Body):
    """The scores of all classes, a row per picture."""

    predictions: list[list[Number]]


class ExplainParametersBody(Body):
    """What ``/v1/explain`` takes in its query."""

    method: str = "multirex"
    options: dict[str, Any] = Field(default={}, description="Parameters of the method.")
    target: str | int | None = None
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    max_inputs: Annotated[int | None, Field(ge=1)] = None
    max_seconds: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    frame: FrameName = "model"
    overlay: bool = False
    saliency: bool = False
    contrast: Offered | None = None


class ExplainInstancesBody(BaseModel):
    """Pictures to explain, files only: a result is known by the file's digest."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    instances: Instances
    parameters: ExplainParametersBody = ExplainParametersBody()


class ExplanationsBody(Body):
    """An explanation per picture."""

    explanations: list[ExplainBody]
