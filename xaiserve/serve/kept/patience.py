"""Asking again where the answer was only that there is none now."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from xaiserve.errors import CapacityError, ModelUnavailableError, StoreUnavailableError
from xaiserve.serve.problem_details import Problem
from xaiserve.serve.problems import ProblemError, problem_of

T = TypeVar("T")

_COME_BACK: Final = frozenset({"full", "model-unavailable", "store-unavailable"})
"""Kinds of problems that are no answer: the same request may succeed later."""


async def patiently(ask: Callable[[], Awaitable[T]], *, wait_s: float | None = None) -> T:
    """Ask until there is an answer: being full, or without a replica for now, is none.

    Parameters
    ----------
    wait_s
        How long to wait in between; what the problem says when none.
    """
    while True:
        try:
            return await ask()
        except Exception as error:
            problem = _passing(error)
            if problem is None:
                raise
            await asyncio.sleep(problem.retry_after_s or 1.0 if wait_s is None else wait_s)


def _passing(error: Exception) -> Problem | None:
    known = (CapacityError, ModelUnavailableError, StoreUnavailableError, ProblemError)
    problem = problem_of(error) if isinstance(error, known) else None
    return problem if problem is not None and problem.kind.slug in _COME_BACK else None
