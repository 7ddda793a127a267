"""What is there to be asked: models, methods, and whether they answer."""

from typing import Any, Literal

from pydantic import Field

from xaiserve.serve.bodies.base import Body


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


class IndexBody(Body):
    """What this service is, and where to look further."""

    name: str
    version: str
    about: str
    links: dict[str, str] = Field(description="Paths that answer GET without parameters.")
