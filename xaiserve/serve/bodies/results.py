"""What is said of results that are fetched later."""

from typing import Literal

from pydantic import Field

from xaiserve.serve.bodies.base import Body
from xaiserve.serve.bodies.told import ProgressBody

State = Literal["pending", "running", "done", "failed"]


class ResultBody(Body):
    """One result that is asked for now and fetched later."""

    id: str
    state: State = Field(description="``failed``: fetching it answers with the problem.")
    url: str = Field(description="Where the answer will be.")
    model: str
    method: str
    name: str = Field(description="The file's name, where it came with one.")
    accepted: float = Field(description="Seconds since 1970.")
    kept_until: float = Field(description="Seconds since 1970.")
    progress: ProgressBody | None = None


class ResultsBody(Body):
    """Results, newest first."""

    results: list[ResultBody]
    next: str | None = Field(description="What ``before`` takes to go on; null at the end.")
