"""What a replica tells while it explains: progress, and each part of the result as it is found."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from xaiserve.explainers.base import Explanation
from xaiserve.perturb.plan import Event, Found, Progress, innermost
from xaiserve.perturb.ticket import Ticket
from xaiserve.report.document import announced_document
from xaiserve.report.subject import Subject
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.told import FoundBody, ProgressBody

PROGRESS_S: Final = 1.0
"""How often progress is told."""


class Telling:
    """Collects what one plan says and tells it on the loop that it belongs to.

    Parameters
    ----------
    every_s
        How often progress is told.
    """

    def __init__(self, every_s: float = PROGRESS_S) -> None:
        self._loop = asyncio.get_running_loop()
        self._every_s = every_s
        self._news = asyncio.Event()
        self._parts: list[object] = []
        self._phase: Progress | None = None
        self._begun: tuple[Ticket[Explanation], Subject] | None = None
        self._found = 0

    def begin(self, ticket: Ticket[Explanation], subject: Subject) -> None:
        """Note whose progress it is; called before anything else runs on the loop."""
        self._begun = ticket, subject
        self._news.set()

    def end(self) -> None:
        """Let go of what was explained: the ticket, which it holds, holds this in turn."""
        self._begun = None

    def hear(self, event: Event) -> None:
        """Take what the plan says; called on a stepping thread."""
        event = innermost(event)
        if isinstance(event, Progress):
            self._phase = event
        elif isinstance(event, Found):
            self._loop.call_soon_threadsafe(self._add, event.part)

    async def until(
        self, answer: "asyncio.Task[ExplainBody]"
    ) -> AsyncGenerator[ProgressBody | FoundBody, None]:
        """Tell what comes until there is an answer, and how far it is in between."""
        answer.add_done_callback(lambda _: self._news.set())
        while not answer.done():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._news.wait()
            self._news.clear()
            parts, self._parts = self._parts, []
            for part in parts:
                yield await self._announced(part)
            if not parts and self._begun and not answer.done():
                yield self._progress()

    def _add(self, part: object) -> None:
        self._parts.append(part)
        self._news.set()

    def _progress(self) -> ProgressBody:
        assert self._begun is not None  # noqa: S101 -- nothing is told before
        ticket, phase = self._begun[0], self._phase
        cost = ticket.cost
        return ProgressBody(
            phase=None if phase is None else phase.phase,
            done=None if phase is None else phase.done,
            total=None if phase is None else phase.total,
            explanations=self._found,
            model_inputs=cost.model_inputs,
            max_inputs=ticket.limits.max_inputs,
            seconds=cost.wall_seconds,
            max_seconds=ticket.limits.max_seconds,
        )

    async def _announced(self, part: object) -> FoundBody:
        assert self._begun is not None  # noqa: S101 -- nothing is found before
        document = await asyncio.to_thread(announced_document, part, self._begun[1])
        self._found += 1
        return FoundBody(index=self._found - 1, **document)
