"""Explanations for the routes: from the cache, from a flight, or from the model."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from xaiserve.dispatch.metrics import Meter, NoMeter
from xaiserve.errors import ModelUnavailableError, XaiServeError
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.lists import ModelBody
from xaiserve.serve.bodies.told import Told
from xaiserve.serve.incoming.requests import ClassifierPort, ExplainRequest
from xaiserve.serve.kept.flights import Flights, Tell
from xaiserve.serve.kept.result_cache import ResultCache
from xaiserve.serve.kept.result_ids import budgeted, result_id
from xaiserve.serve.observing.metrics import RESULT_CACHE
from xaiserve.serve.problems import ProblemError

READY_S: Final = 5.0
"""How long a replica may take to say that it is there."""

GRACE_S: Final = 30.0
"""What an answer may take beyond its budget: reading the picture, the last batch, drawing."""

CARD_S: Final = 10.0
"""How long a model is taken to be the one that it was."""


class Explanations:
    """Explains for many requests at once; belongs to one event loop.

    Parameters
    ----------
    cache
        Where answers are kept; nowhere when none.
    meter
        Counts what was found there and what was not.
    """

    def __init__(self, cache: ResultCache | None = None, meter: Meter | None = None) -> None:
        self._cache = cache
        self._meter = meter or NoMeter()
        self._flights = Flights()
        self._cards: dict[str, tuple[float, ModelBody]] = {}

    async def explain(
        self, name: str, port: ClassifierPort, request: ExplainRequest
    ) -> ExplainBody:
        """Answer a request to the model of this name; see `stream`."""
        last: Told | None = None
        async with aclosing(self.stream(name, port, request)) as told:
            async for each in told:
                last = each
        assert isinstance(last, ExplainBody)  # noqa: S101 -- or it would have raised
        return last

    async def stream(
        self, name: str, port: ClassifierPort, request: ExplainRequest
    ) -> AsyncGenerator[Told, None]:
        """Tell what `ClassifierPort.stream` does; a kept answer alone.

        Raises
        ------
        ModelUnavailableError
            No answer came within the budget and `GRACE_S`.
        """
        card = await self._card(name, port)
        result = None if card is None else result_id(request, card)
        kept = await self._kept(result, request)
        if self._cache is not None and card is not None:
            outcome = "miss" if kept is None else "hit"
            self._meter.count(RESULT_CACHE, model=card.name, outcome=outcome)
        if kept is not None:
            yield kept
            return

        async def work(tell: Tell) -> ExplainBody:
            body = await _within(name, port, request, tell)
            if result is not None and card is not None and body.model_digest == card.digest:
                await self._keep(result, request, body)
            return body

        # What is not known to be equal shares nothing.
        key = object() if result is None else (result, request.upload.name, request.limits)
        async with aclosing(self._flights.join(key, work)) as told:
            async for each in told:
                yield each

    async def _card(self, name: str, port: ClassifierPort) -> ModelBody | None:
        """Look up which model it is; none where none answers now: the question itself may wait."""
        read, card = self._cards.get(name, (0.0, None))
        if card is not None and time.monotonic() < read + CARD_S:
            return card
        try:
            async with asyncio.timeout(READY_S):
                card = await port.card()
        except (TimeoutError, XaiServeError, ProblemError):
            return None
        self._cards[name] = time.monotonic(), card
        return card

    async def _kept(self, result: str | None, request: ExplainRequest) -> ExplainBody | None:
        if self._cache is None or result is None:
            return None
        found = await asyncio.to_thread(self._cache.find, result)
        limit = request.limits.max_inputs
        if found is None and limit is not None:
            found = await asyncio.to_thread(self._cache.find, budgeted(result, limit))
        if found is None:
            return None
        cost = found.cost.model_copy(update={"waited_seconds": 0.0})
        own = {"name": request.upload.name, "cached": True, "cost": cost}
        return found.model_copy(update=own)

    async def _keep(self, result: str, request: ExplainRequest, body: ExplainBody) -> None:
        """Keep what another run would find again: time does not stop at the same place twice."""
        if self._cache is None:
            return
        limit = request.limits.max_inputs
        if body.stopped == "inputs" and limit is not None:
            result = budgeted(result, limit)
        elif not body.complete:
            return
        await asyncio.to_thread(self._cache.keep, result, body)


async def _within(
    name: str, port: ClassifierPort, request: ExplainRequest, tell: Tell
) -> ExplainBody:
    seconds = request.limits.max_seconds
    patience = None if seconds is None else seconds + GRACE_S
    last: Told | None = None
    try:
        async with asyncio.timeout(patience), aclosing(port.stream(request)) as told:
            async for last in told:
                tell(last)
    except TimeoutError:
        raise ModelUnavailableError(f"model {name!r} did not answer in {patience:g} s") from None
    assert isinstance(last, ExplainBody)  # noqa: S101 -- or it would have raised
    return last
