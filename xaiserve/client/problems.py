"""Problem details of the service as exceptions."""

import json
from collections.abc import Mapping
from typing import Any, Final

from xaiserve.backoff import asked_wait_s
from xaiserve.errors import (
    CapacityError,
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

_KINDS: Final[Mapping[str, type[XaiServeError]]] = {
    "too-large": TooLargeError,
    "unsupported-media": UnsupportedMediaError,
    "invalid-input": InvalidInputError,
    "not-found": NotFoundError,
    "conflict": ConflictError,
    "budget-spent": QueryBudgetError,
    "model-unavailable": ModelUnavailableError,
    "not-serving": ModelUnavailableError,
    "store-unavailable": StoreUnavailableError,
}
_FULL: Final = 429
_OK: Final = 200
_KEY_LIMIT: Final = "key-limit"


class ServiceError(XaiServeError):
    """What the service answers that is none of the other errors: no key, a fault of its own.

    Attributes
    ----------
    status
        The HTTP status.
    kind
        Last part of the problem's type; empty where the answer is no problem of ours.
    instance
        What the service's log holds the cause under; none where it says none.
    """

    def __init__(self, message: str, *, status: int, kind: str, instance: str | None) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.instance = instance


def error_of(status: int, headers: Mapping[str, str], body: bytes) -> XaiServeError:
    """Make the exception for an answer that is not a success."""
    problem = _problem(body)
    kind = str(problem.get("type", "")).rpartition(":")[2]
    detail = str(problem.get("detail") or f"the service answered {status}")
    if kind in _KINDS:
        return _KINDS[kind](detail)
    if status == _FULL:
        reached = KeyLimitError if kind == _KEY_LIMIT else CapacityError
        return reached(detail, retry_after_s=asked_wait_s(headers) or 0.0)
    instance = problem.get("instance")
    return ServiceError(
        f"{problem.get('title', 'no answer')}: {detail}",
        status=status,
        kind=kind,
        instance=None if instance is None else str(instance),
    )


def broken(what: str) -> ServiceError:
    """Make the exception for a success that is no answer of this service's."""
    return ServiceError(
        f"broken answer: {what}; is this the address of an xaiserve service?",
        status=_OK,
        kind="",
        instance=None,
    )


def _problem(body: bytes) -> dict[str, Any]:  # Any: JSON
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
