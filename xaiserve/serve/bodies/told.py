"""What is told of an explanation before it is complete."""

from typing import Any

from pydantic import Field

from xaiserve.serve.bodies.base import Body, Number
from xaiserve.serve.bodies.explanations import AnnouncedBody, ExplainBody


class ProgressBody(Body):
    """How far an explanation has come."""

    phase: str | None = Field(description="What the method does now, in its own word.")
    done: int | None
    total: int | None = Field(description="Null when nobody can know.")
    explanations: int = Field(description="Parts of the result told so far.")
    model_inputs: int
    max_inputs: int | None
    seconds: float = Field(description="Since the method began.")
    max_seconds: Number


class FoundBody(Body):
    """One verified part of the result, while the method goes on.

    The final answer may hold fewer, or smaller ones: what is found is pruned and compared.
    """

    index: int
    explanation: AnnouncedBody | None = Field(
        default=None, description="The set of pixels, where the part is one."
    )
    details: dict[str, Any] = Field(default={}, description="What another part says.")


Told = ProgressBody | FoundBody | ExplainBody
"""What a request hears, in this order but for the first two, which alternate."""
