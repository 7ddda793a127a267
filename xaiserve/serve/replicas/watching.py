"""What one model's server tells of its work: numbers, one log line per explanation, spans."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from xaiserve.dispatch.metrics import Meter
from xaiserve.errors import CapacityError, InvalidInputError, NotFoundError, QueryBudgetError
from xaiserve.explainers.base import Explanation
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Ticket
from xaiserve.perturb.totals import Totals
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.observing import metrics
from xaiserve.serve.observing.tracing import span

_log = logging.getLogger("xaiserve.explanations")

_REFUSALS: Final = (CapacityError, InvalidInputError, NotFoundError, QueryBudgetError)
"""What is the caller's, or a matter of load."""


FIRST_GUESS: Final = 500.0
"""Model inputs of an explanation before one has ended: those of a short search."""

_WEIGHT: Final = 0.2
"""Of the latest explanation among the recent ones."""


class Explaining:
    """One explanation as it is watched, from its arrival on."""

    def __init__(self) -> None:
        self.outcome = "failed"
        self.waited_s = 0.0
        self.model_inputs = 0
        self.ticket: Ticket[Explanation] | None = None

    def to_come(self, typical: float) -> float:
        """Guess the model inputs that it has still to ask, from what a recent one took.

        One that has asked as many is of the long kind: it counts a quarter of that to its end.
        """
        spent = 0 if self.ticket is None else self.ticket.cost.model_inputs
        return max(typical - spent, typical / 4)

    def answered(self, body: ExplainBody) -> ExplainBody:
        """Note the answer, and return it."""
        whole = "explained" if body.complete else "incomplete"
        self.outcome = whole if body.outcome == "explained" else "none"
        self.model_inputs = body.cost.model_inputs
        return body


class Watch:
    """Watches the server of one model; belongs to one event loop."""

    def __init__(self, model: str, meter: Meter) -> None:
        self._model = model
        self._meter = meter
        self._seen = Totals()
        self._typical = FIRST_GUESS
        self._explaining: set[Explaining] = set()

    @property
    def inputs_to_come(self) -> float:
        """Model inputs that the explanations here, at work and waiting, have still to ask."""
        return sum(each.to_come(self._typical) for each in self._explaining)

    @contextmanager
    def explanation(self, explainer: str) -> Iterator[Explaining]:
        """Watch one explanation from its arrival to its end, whichever that is."""
        seen, began = Explaining(), time.monotonic()
        self._explaining.add(seen)
        with span("explain", model=self._model, explainer=explainer) as told:
            try:
                yield seen
                self._learn(seen.model_inputs)
            except asyncio.CancelledError:
                seen.outcome = "cancelled"
                raise
            except _REFUSALS:
                seen.outcome = "refused"
                raise
            finally:
                self._explaining.discard(seen)
                told.set_attribute("xaiserve.outcome", seen.outcome)
                told.set_attribute("xaiserve.model_inputs", seen.model_inputs)
                self._note(seen, explainer, time.monotonic() - began)

    def sample(self, engine: Engine, *, waiting: int, pending: float) -> None:
        """Publish what the engine has done since the last sample, and what it has to do."""
        totals = engine.totals
        new, self._seen = totals - self._seen, totals
        for metric, amount in (
            (metrics.MODEL_INPUTS, new.model_inputs),
            (metrics.REPEATED_QUESTIONS, new.repeated_questions),
            (metrics.BATCHES, new.batches),
            (metrics.BATCH_ROOM, new.room),
            (metrics.MODEL_SECONDS, new.device_seconds),
        ):
            self._meter.count(metric, amount, model=self._model)
        self._meter.put(metrics.PLANS, engine.in_flight, model=self._model)
        self._meter.put(metrics.QUEUE_LENGTH, waiting, model=self._model)
        self._meter.put(metrics.PENDING_INPUTS, pending, model=self._model)

    def _learn(self, model_inputs: int) -> None:
        self._typical += _WEIGHT * (model_inputs - self._typical)

    def _note(self, seen: Explaining, explainer: str, seconds: float) -> None:
        labels = {"model": self._model, "explainer": explainer}
        self._meter.count(metrics.EXPLANATIONS, **labels, outcome=seen.outcome)
        self._meter.observe(metrics.EXPLANATION_SECONDS, seconds, **labels)
        self._meter.observe(metrics.QUEUE_SECONDS, seen.waited_s, model=self._model)
        told = {"outcome": seen.outcome, "seconds": round(seconds, 4)}
        told |= {"waited_s": round(seen.waited_s, 4), "model_inputs": seen.model_inputs}
        _log.info("explanation", extra={"fields": labels | told})
