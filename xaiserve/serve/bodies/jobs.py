"""Jobs over data sets: what is asked for, and what is said of them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from xaiserve.metrics.deletion import Score
from xaiserve.parameters import MAX_SEED
from xaiserve.serve.bodies.base import Body

Value = str | int | float | bool
Count = Annotated[int, Field(ge=1)]


class JobRequest(Body):
    """What ``xaiserve submit`` takes, of a model that is served."""

    kind: Literal["explain", "pointing-game"]
    images: str = Field(description="Picture, folder, s3:// prefix, manifest.")
    model: str = Field(description="Name of a served model.")
    methods: list[str] = Field(min_length=1)
    out: str = Field(description="Folder or s3:// prefix for the rows, in a place allowed.")
    parameters: dict[str, dict[str, Value]] = Field(default={}, description="Parameters by method.")
    seed: Annotated[int, Field(ge=0, le=MAX_SEED)] = 0
    limit: Count | None = None
    max_inputs: Count | None = None
    scores: list[Score] = Field(
        default=[],
        description="Also ask the model how faithful each explanation is; either costs both.",
    )
    tolerance_px: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    tasks_per_part: Count | None = None
    workers: Count | None = None
    threads: Count | None = None
    gpus: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, description="Per worker."
    )


class JobBody(Body):
    """One job."""

    id: str
    state: Literal["pending", "running", "stopped", "succeeded", "failed"]
    out: str
    message: str = Field(description="Why, in the cluster's words; may be empty.")
    progress: dict[str, Any] | None = Field(
        description="What the job last wrote: done, total, per_second, seconds_left and others; "
        "null before it has begun."
    )


class JobsBody(Body):
    """Jobs, oldest first."""

    jobs: list[JobBody]
