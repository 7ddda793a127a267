"""What all bodies are made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Number = float | None
"""Null where it is not finite: JSON has no NaN."""

Size = Annotated[list[int], Field(min_length=2, max_length=2)]


class Body(BaseModel):
    """Base of all bodies: closed, so that a misspelt field is an error in the server's tests."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class RleBody(Body):
    """A mask as COCO's compressed run lengths."""

    size: Size = Field(description="Height and width.")
    counts: str
