"""Bodies of the Open Inference Protocol, version 2.

What comes in may have members that we do not know: the protocol is for clients of others.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from xaiserve.serve.bodies.base import Body

Parameters = dict[str, Any]  # Any: JSON

Shape = Annotated[
    list[Annotated[int, Field(ge=0, le=2**31 - 1, strict=True)]], Field(min_length=1, max_length=8)
]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class InputBody(_Sent):
    """One tensor of a request; without ``data`` it follows the JSON, as binary."""

    name: str
    datatype: Literal["FP32", "UINT8", "BYTES"]
    shape: Shape
    parameters: Parameters = {}
    data: list[Any] | None = Field(  # Any: numbers or texts, flat or nested
        default=None, description="Numbers, flat or nested; for BYTES, files in base64."
    )


class WishBody(_Sent):
    """One output that is asked for."""

    name: str
    parameters: Parameters = {}


class InferRequestBody(_Sent):
    """A request to score pictures."""

    id: str | None = None
    parameters: Parameters = {}
    inputs: Annotated[list[InputBody], Field(min_length=1, max_length=1)]
    outputs: Annotated[list[WishBody], Field(max_length=8)] = []


class OutputBody(Body):
    """One tensor of an answer; without ``data`` it follows the JSON, as binary."""

    name: str
    datatype: Literal["FP32", "BYTES"]
    shape: list[int]
    parameters: Parameters | None = None
    data: list[float | str] | None = None


class InferBody(Body):
    """The answer to an infer request."""

    model_name: str
    model_version: str
    id: str | None = None
    outputs: list[OutputBody]


class TensorBody(Body):
    """A tensor that a model takes or gives; -1 is any number."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadataBody(Body):
    """What a model takes and gives.

    ``image`` is float32 in [0, 1] at the model's size. It may also come as UINT8 (n, h, w, c) of
    that size, or as BYTES (n): files of any size, which are scaled as the model wants them.
    """

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorBody]
    outputs: list[TensorBody]
    parameters: Parameters = Field(
        description="``digest``, ``labels``, ``max_batch_size`` and ``specification``: all that is "
        "known of the model besides its weights, as in xaiserve.json."
    )


class ServerMetadataBody(Body):
    """The server."""

    name: str
    version: str
    extensions: list[str]


class LiveBody(Body):
    """The service runs."""

    live: Literal[True] = True


class ServerReadyBody(Body):
    """Every model answers."""

    ready: Literal[True] = True


class ModelReadyBody(Body):
    """The model answers."""

    name: str
    ready: Literal[True] = True


class ErrorBody(Body):
    """An error, as the protocol has it."""

    error: str
