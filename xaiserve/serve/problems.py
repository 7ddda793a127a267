"""Errors as RFC 9457 problem details: the one table from the error tree to HTTP statuses."""

import logging
import uuid
from collections.abc import Awaitable, Mapping
from typing import Any, Final, TypeVar, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette._utils import get_route_path
from starlette.exceptions import HTTPException

from xaiserve.errors import (
    CapacityError,
    ClassifierFaultError,
    ConflictError,
    InvalidInputError,
    KeyLimitError,
    ModelUnavailableError,
    NotFoundError,
    QueryBudgetError,
    StoreUnavailableError,
    TooLargeError,
    UnsupportedMediaError,
    XaiServeError,
)
from xaiserve.serve.bodies.problem import ProblemBody
from xaiserve.serve.config import sentence
from xaiserve.serve.incoming.request_ids import request_id
from xaiserve.serve.problem_details import (
    UNAVAILABLE_RETRY_S,
    Kind,
    Problem,
    is_oip,
    response_to,
)

T = TypeVar("T")

_log = logging.getLogger(__name__)

KINDS: Final[Mapping[type[Exception], Kind]] = {
    TooLargeError: Kind(413, "too-large", "The picture is over a limit"),
    UnsupportedMediaError: Kind(415, "unsupported-media", "The bytes are no picture we read"),
    InvalidInputError: Kind(422, "invalid-input", "The request is wrong"),
    NotFoundError: Kind(404, "not-found", "It does not exist"),
    ConflictError: Kind(409, "conflict", "Something else is there already"),
    QueryBudgetError: Kind(429, "budget-spent", "The budget is spent and nothing was found"),
    CapacityError: Kind(429, "full", "The service is full"),
    KeyLimitError: Kind(429, "key-limit", "The limit of the API key is reached"),
    ModelUnavailableError: Kind(503, "model-unavailable", "The model is not available"),
    StoreUnavailableError: Kind(503, "store-unavailable", "The store is not available"),
}
"""The nearest ancestor of an error's class counts. `NoExplanationError` is not here: it is an
answer, 200 with outcome ``none``."""

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {  # Any: FastAPI's own type
    status: {"model": ProblemBody, "description": meaning}
    for status, meaning in {
        401: "No valid API key, where the service asks for one",
        403: "The API key does not allow this",
        404: "No model or method of that name",
        409: "The first request with the same Idempotency-Key is still worked on",
        413: "Body, side or pixels over a limit",
        415: "Not a picture that is read",
        422: "An option, the target or the picture is wrong",
        429: "Full or over the key's limits (with Retry-After), or the budget was spent in vain",
        503: "The model is not available (with Retry-After)",
    }.items()
}
"""What routes may answer besides their own bodies, for the OpenAPI document."""

FAULT: Final = Kind(500, "internal", "Something failed on our side")
MODEL_FAULT: Final = Kind(500, "model-fault", "The model failed on this picture")


class ProblemError(Exception):
    """A problem that another process found; carries it to the response."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def problem_of(error: Exception) -> Problem:
    """Turn any error into a problem; what is not the caller's is logged and not shown."""
    if isinstance(error, ProblemError):
        return error.problem
    kind = next((KINDS[base] for base in type(error).__mro__ if base in KINDS), None)
    if kind is None:
        return _fault(error)
    wait = UNAVAILABLE_RETRY_S if kind.status == 503 else None  # noqa: PLR2004
    if isinstance(error, CapacityError):
        wait = error.retry_after_s
    return Problem(kind=kind, detail=str(error), retry_after_s=wait)


async def as_value(answer: Awaitable[T]) -> T | Problem:
    """Wait for an answer; an error that belongs to the caller becomes its value."""
    try:
        return await answer
    except XaiServeError as error:
        return problem_of(error)


def _fault(error: Exception) -> Problem:
    reference = uuid.uuid4().urn
    _log.error("failure %s of request %s", reference, request_id(), exc_info=error)
    kind = MODEL_FAULT if isinstance(error, ClassifierFaultError) else FAULT
    return Problem(
        kind=kind, detail=f"the log holds the cause under {reference}", instance=reference
    )


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem."""
    for kind in (XaiServeError, ProblemError, Exception):
        app.add_exception_handler(kind, _answer)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)


async def _answer(request: Request, error: Exception) -> JSONResponse:
    return response_to(get_route_path(request.scope), problem_of(error))


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    first = cast("RequestValidationError", error).errors()[0]
    return response_to(
        get_route_path(request.scope), problem_of(InvalidInputError(sentence(first)))
    )


async def _answer_http(request: Request, error: Exception) -> JSONResponse:
    """Turn what the router itself says (no such path, method not allowed) into a problem."""
    said = cast("HTTPException", error)
    slug = {404: "no-such-path", 405: "method-not-allowed"}.get(said.status_code, "http")
    kind = Kind(said.status_code, slug, str(said.detail))
    detail = f"{request.method} {request.url.path}"
    path = get_route_path(request.scope)
    if is_oip(path):
        detail = f"{said.detail}: {detail}"
    response = response_to(path, Problem(kind=kind, detail=detail))
    response.headers.update(said.headers or {})
    return response
