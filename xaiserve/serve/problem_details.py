"""One problem as RFC 9457 details, without what finds them: Serve's proxy makes one as well."""

import math
from dataclasses import dataclass
from typing import Any, Final

from fastapi.responses import JSONResponse

from xaiserve.serve.incoming.request_ids import request_id

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "urn:xaiserve:problem:"

OIP_PREFIX: Final = "/v2"
"""Below it errors have the form of the Open Inference Protocol, and what is wrong is 400."""

UNAVAILABLE_RETRY_S: Final = 5.0
"""What a client is told to wait for a model whose replica is being replaced."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: status, last part of the type URI, title."""

    status: int
    slug: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem, plain data: it crosses processes as it is."""

    kind: Kind
    detail: str
    instance: str | None = None
    retry_after_s: float | None = None

    @property
    def body(self) -> dict[str, Any]:  # Any: JSON
        """The members that RFC 9457 names, and the id of the request that this task works for."""
        members = {
            "type": TYPE_PREFIX + self.kind.slug,
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
        }
        more = {"instance": self.instance, "request_id": request_id()}
        return members | {name: value for name, value in more.items() if value}

    @property
    def response(self) -> JSONResponse:
        wait = self.retry_after_s
        headers = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
        return JSONResponse(self.body, self.kind.status, headers, MEDIA_TYPE)


def response_to(path: str, problem: Problem) -> JSONResponse:
    """Answer with a problem, in the form that the protocol of the path has."""
    response = problem.response
    if not is_oip(path):
        return response
    status = 400 if problem.kind.status == 422 else problem.kind.status  # noqa: PLR2004
    headers = {key: response.headers[key] for key in ("retry-after",) if key in response.headers}
    return JSONResponse({"error": problem.detail}, status, headers)


def is_oip(path: str) -> bool:
    """Say whether a path belongs to the Open Inference Protocol."""
    return path == OIP_PREFIX or path.startswith(OIP_PREFIX + "/")
