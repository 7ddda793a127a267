"""What a model says of a picture."""

from pydantic import Field

from xaiserve.serve.bodies.base import Body, Number


class ClassBody(Body):
    """One class of a model."""

    index: int
    label: str


class ScoreBody(ClassBody):
    """One class and the score of the picture for it."""

    score: Number


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
