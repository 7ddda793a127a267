"""Which failures are no answer: the same request may succeed later."""

from typing import Final

from xaiserve.errors import CapacityError, ModelUnavailableError, StoreUnavailableError
from xaiserve.serve.problems import ProblemError, problem_of

_COME_BACK: Final = frozenset({"full", "model-unavailable", "store-unavailable"})
"""Kinds of problems that pass."""

_RETRY_S: Final = 1.0
"""Where the problem does not say when to come back."""


def retry_after(error: Exception) -> float | None:
    """Return in how many seconds to ask again; None where ``error`` is the answer."""
    if not isinstance(
        error, CapacityError | ModelUnavailableError | StoreUnavailableError | ProblemError
    ):
        return None
    problem = problem_of(error)
    return (problem.retry_after_s or _RETRY_S) if problem.kind.slug in _COME_BACK else None
