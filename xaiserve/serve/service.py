"""`Service`: what the routes need, and how long they wait for it."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from fastapi import Request

from xaiserve.errors import InvalidInputError, ModelUnavailableError, NotFoundError
from xaiserve.perturb.ticket import Limits
from xaiserve.serve.bodies.lists import ModelBody
from xaiserve.serve.config import Budget, Uploads
from xaiserve.serve.incoming.fetching import Fetcher
from xaiserve.serve.incoming.query import number_pair
from xaiserve.serve.incoming.requests import ClassifierPort
from xaiserve.serve.incoming.uploads import Sent, read_upload
from xaiserve.serve.jobs import Jobs
from xaiserve.serve.kept.explanations import READY_S, Explanations
from xaiserve.serve.kept.idempotency import Replays
from xaiserve.serve.kept.results import Results

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the routes need: the models behind them and the limits in front of them."""

    models: Mapping[str, ClassifierPort]
    uploads: Uploads
    budget: Budget
    fetcher: Fetcher = field(default_factory=Fetcher)
    explanations: Explanations = field(default_factory=Explanations)
    replays: Replays | None = None
    results: Results | None = None
    jobs: Jobs | None = None
    may_sleep: frozenset[str] = frozenset()
    """Models without a replica while nobody asks: whether they are ready is asking."""

    def model(self, name: str) -> ClassifierPort:
        if name not in self.models:
            raise NotFoundError(f"model {name!r} is not served; known are {', '.join(self.models)}")
        return self.models[name]

    async def upload(
        self, request: Request, value_range: str | None, *, with_contrast: bool = False
    ) -> Sent:
        return await read_upload(
            request,
            fetcher=self.fetcher,
            max_bytes=self.uploads.max_bytes,
            value_range=number_pair(value_range),
            with_contrast=with_contrast,
        )

    async def card(self, name: str) -> ModelBody:
        return await within(READY_S, self.model(name).card(), name)

    def limits(self, max_inputs: int | None, max_seconds: float, *, later: bool = False) -> Limits:
        """Check what was asked for against the service's bounds, of answers that come later too."""
        budget = self.budget
        longest = self.results.max_seconds if later and self.results else budget.max_seconds
        _at_most("max_seconds", max_seconds, longest)
        _at_most("max_inputs", max_inputs, budget.max_inputs)
        return Limits(
            max_inputs=max_inputs or budget.inputs or budget.max_inputs,
            max_seconds=max_seconds,
        )


async def within(seconds: float, answer: Awaitable[T], model: str) -> T:
    """Wait for a replica, and no longer than that.

    Raises
    ------
    ModelUnavailableError
        No answer came.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError:
        raise ModelUnavailableError(f"model {model!r} did not answer in {seconds:g} s") from None


def _at_most(name: str, asked: float | None, bound: float | None) -> None:
    if asked is not None and bound is not None and asked > bound:
        raise InvalidInputError(f"{name} must be at most {bound:g} here, got {asked:g}")
