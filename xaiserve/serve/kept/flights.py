"""Explanations under way: equal requests share one."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextvars import Context
from typing import Any, Final

from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.told import FoundBody, ProgressBody, Told
from xaiserve.serve.incoming.request_ids import request_id, set_request_id

Tell = Callable[[Told], None]


class Flight:
    """One explanation for whoever listens, those included who come late; belongs to one loop."""

    def __init__(self, work: Callable[[Tell], Coroutine[Any, Any, ExplainBody]]) -> None:
        self.listeners = 0
        self._parts: list[FoundBody] = []
        self._progress: ProgressBody | None = None
        self._changed = asyncio.Event()
        # In a context of its own: what it asks of replicas must outlive the request that came
        # first, whose end would else be the end of everything that was asked in its name.
        context = Context()
        context.run(set_request_id, request_id())
        self.task = asyncio.get_running_loop().create_task(work(self._tell), context=context)
        self.task.add_done_callback(self._end)

    async def listen(self) -> AsyncGenerator[Told, None]:
        """Tell all parts, the latest progress and the answer; raises what the work raises."""
        told, progress = 0, None
        while True:
            changed = self._changed
            for part in self._parts[told:]:
                told += 1
                yield part
            if self._progress is not progress:
                progress = self._progress
                assert progress is not None  # noqa: S101 -- it never goes back to none
                yield progress
            if told == len(self._parts) and self.task.done():
                yield self.task.result()
                return
            await changed.wait()

    def _tell(self, told: Told) -> None:
        if isinstance(told, FoundBody):
            self._parts.append(told)
        elif isinstance(told, ProgressBody):
            self._progress = told
        self._wake()

    def _end(self, task: "asyncio.Task[ExplainBody]") -> None:
        if not task.cancelled():
            task.exception()  # so that nobody complains when all listeners have gone
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Flights:
    """The flights of one process, by what they compute."""

    def __init__(self) -> None:
        self._flights: Final[dict[object, Flight]] = {}

    def __len__(self) -> int:
        return len(self._flights)

    async def join(
        self, key: object, work: Callable[[Tell], Coroutine[Any, Any, ExplainBody]]
    ) -> AsyncGenerator[Told, None]:
        """Listen to the flight of this key, or to a new one; when the last goes, it ends."""
        flight = self._flights.get(key)
        if flight is None or flight.task.done():
            flight = self._flights[key] = Flight(work)
        flight.listeners += 1
        listening = flight.listen()
        try:
            async for told in listening:
                yield told
        finally:
            await listening.aclose()
            flight.listeners -= 1
            if not flight.listeners:
                flight.task.cancel()
                if self._flights.get(key) is flight:
                    del self._flights[key]
