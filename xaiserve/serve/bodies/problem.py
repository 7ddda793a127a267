"""What is said when something is wrong."""

from pydantic import BaseModel, Field


class ProblemBody(BaseModel):
    """An error, RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    request_id: str | None = Field(default=None, description="The request's ``X-Request-ID``.")
