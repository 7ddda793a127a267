"""`Engine`: many plans in flight on one classifier, continuous batching.

One thread feeds the device: it fills each batch with rows of whichever plans have asked, composes
them straight into the batch buffer, scores them and hands the answers back. Plans step on a small
executor, one step at a time each, never on that thread. None waits for a straggler: a plan goes on
as soon as its own question is answered.

On a CPU, composing and the model take turns on the feeding thread: the same cores bound both.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any

import torch

from xaiserve.errors import ClassifierFaultError, QueryBudgetError
from xaiserve.models.classifier import Classifier
from xaiserve.perturb._batching import (
    BULK_ROWS_BESIDE_INTERACTIVE,
    Ascent,
    Entrance,
    Flight,
    Question,
    Slice,
    Waiting,
)
from xaiserve.perturb._stepping import closed, single_threaded
from xaiserve.perturb.compose import Composer
from xaiserve.perturb.drive import checked
from xaiserve.perturb.plan import Done, Event, QueryPlan, Spent, Stop, StopKind, T, step, stop
from xaiserve.perturb.query import leaves
from xaiserve.perturb.repeats import KEPT_BYTES, Repeats
from xaiserve.perturb.ticket import Limits, Ticket
from xaiserve.types import Scores

Steps = Generator[Event, None, T | QueryPlan[T]]
"""A gradient method at work: it yields between optimisation steps.

It returns its explanation, or the plan of what is left to do once only scores are needed: that is
then answered like any other, by the fast way to run the model and together with others.
"""


def _ignore(_: Event) -> None:
    pass


class Engine:
    """Run plans on one classifier.

    Parameters
    ----------
    classifier
        The model; only the engine's own thread calls it.
    batch_rows
        Rows per batch; the classifier's own measured optimum when none.
    admit_bytes
        Plans are admitted while their stated bytes, and what the engine keeps for each, stay below
        this (one always is); counted apart for interactive plans and for the others.
    steppers
        Threads on which plans compute between questions.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        batch_rows: int | None = None,
        admit_bytes: int = 1 << 30,
        steppers: int = 2,
    ) -> None:
        self.classifier = classifier
        self.batch_rows = batch_rows or classifier.batch_rows
        self._composer = Composer(classifier, self.batch_rows)
        self._change = threading.Condition()
        self._questions = Waiting()
        self._entrance = Entrance(admit_bytes)
        self._gradients: deque[Ascent] = deque()
        self._flights: set[Flight] = set()
        self._closing = False
        self._steppers = single_threaded(steppers)
        self._feeder = threading.Thread(target=self._feed, name="xaiserve-feed", daemon=True)
        self._feeder.start()

    def __enter__(self) -> "Engine":  # noqa: PYI034 -- run-time shape checks refuse Self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def in_flight(self) -> int:
        """Plans submitted and not finished."""
        with self._change:
            return len(self._flights) + len(self._entrance) + len(self._gradients)

    def submit(
        self,
        plan: QueryPlan[T],
        *,
        about: str = "a plan",
        limits: Limits | None = None,
        interactive: bool = False,
        bytes_in_flight: int = 0,
        on_event: Callable[[Event], None] = _ignore,
    ) -> Ticket[T]:
        """Start ``plan``; it begins when its bytes fit, interactive plans first.

        ``on_event`` is called on a stepping thread. ``about`` names the plan in errors.
        """
        ticket: Ticket[T] = Ticket(about, limits or Limits(), on_event, interactive=interactive)
        repeats = Repeats(self.classifier.spec.classes)
        flight = Flight(plan, ticket, bytes_in_flight + KEPT_BYTES, repeats)
        with self._change:
            self._refuse_if_closed()
            self._entrance.add(flight)
            self._admit()
        return ticket

    def submit_steps(
        self,
        steps: Steps[T],
        *,
        about: str = "a gradient method",
        limits: Limits | None = None,
        interactive: bool = False,
        bytes_in_flight: int = 0,
        on_event: Callable[[Event], None] = _ignore,
    ) -> Ticket[T]:
        """Run a gradient method beside the weights, one step between two batches.

        ``bytes_in_flight`` counts for the plan that it may end in.
        """
        ticket: Ticket[T] = Ticket(about, limits or Limits(), on_event, interactive=interactive)
        with self._change:
            self._refuse_if_closed()
            self._gradients.append(Ascent(steps, ticket, bytes_in_flight))
            self._change.notify_all()
        return ticket

    def close(self) -> None:
        """Cancel what is in flight and end the threads; safe to call twice."""
        with self._change:
            self._closing = True
            flights = [*self._flights, *self._entrance]
            for flight in flights:
                flight.ticket.cancel()
            for ascent in self._gradients:
                ascent.ticket.cancel()
            self._change.notify_all()
        for flight in flights:
            flight.ticket.future.exception()
        self._feeder.join()
        self._steppers.shutdown()

    # -- stepping: on the executor -----------------------------------------------------------

    def _advance(self, flight: Flight, scores: Scores | None) -> None:
        try:
            turn, stopped = self._turn(flight, scores)
        except BaseException as error:  # noqa: BLE001 -- whatever it was belongs to the caller
            error.add_note(f"{flight.ticket.about}, round {flight.rounds}")
            self._finish(flight, error=error)
            return
        if isinstance(turn, Done):
            self._finish(flight, value=turn.value, stopped=stopped)
            return
        with self._change:
            self._questions.add(turn)
            self._change.notify_all()

    def _turn(
        self, flight: Flight, scores: Scores | None
    ) -> tuple[Question | Done[Any], StopKind | None]:
        """Step to the next question or the end, telling events on the way."""
        while True:
            kind = flight.ticket.must_stop()
            if kind:
                return self._stop(flight, kind), kind
            if scores is not None and flight.asked:
                flight.ticket.charge_repeats(flight.asked.repeats)
                scores = flight.repeats.restore(flight.asked, scores)
            turn = step(flight.plan, scores)
            scores = None
            if isinstance(turn, Done):
                return turn, None
            if isinstance(turn, Event):
                flight.ticket.on_event(turn)
                continue
            flight.rounds += 1
            flight.asked = flight.repeats.reduce(turn)
            query = flight.asked.query
            verifying = sum(len(leaf) for leaf in leaves(query) if leaf.alone)
            if not flight.ticket.affords(len(query), verifying=verifying):
                return self._stop(flight, "inputs"), "inputs"
            if len(query):
                return Question(flight, query, self.classifier.spec.classes), None
            scores = torch.empty(0, self.classifier.spec.classes)

    def _stop(self, flight: Flight, kind: StopKind) -> Done[Any]:
        if flight.rounds == 0:
            flight.plan.close()
            raise _nothing(kind, flight.ticket)
        try:
            return stop(flight.plan, kind, flight.ticket.on_event)
        except Stop:
            raise _nothing(kind, flight.ticket) from None

    def _finish(
        self,
        flight: Flight,
        *,
        value: object = None,
        error: BaseException | None = None,
        stopped: StopKind | None = None,
    ) -> None:
        error = closed(flight.plan, error)
        with self._change:
            self._flights.discard(flight)
            self._admit()
            self._change.notify_all()
        _resolve(flight.ticket, value=value, error=error, stopped=stopped)

    def _admit(self) -> None:
        """Start the waiting plans that may. Lock held."""
        for flight in self._entrance.admit(self._flights):
            self._flights.add(flight)
            self._steppers.submit(self._advance, flight, None)

    def _refuse_if_closed(self) -> None:
        if self._closing:
            raise RuntimeError("the engine is closed")

    # -- feeding: on the one thread that calls the model -------------------------------------

    def _feed(self) -> None:
        while True:
            with self._change:
                while not (self._questions or self._gradients or self._closing):
                    self._change.wait()
                if self._closing and not (self._flights or self._gradients or self._entrance):
                    return
                batch = self._next_batch()
                gradient = self._next_gradient()
                if self._closing and not (batch or gradient):
                    self._change.wait()
            if batch:
                self._score(batch)
            if gradient:
                self._step_gradient(gradient)

    def _next_batch(self) -> list[Slice]:
        """Choose whose rows are next, and set plans that must stop on their way. Lock held."""
        for question in self._questions.remove_ended():
            self._steppers.submit(self._advance, question.flight, None)
        if self._entrance:
            self._admit()
        return self._questions.fill(self.batch_rows, bulk_rows=self._bulk_rows())

    def _next_gradient(self) -> Ascent | None:
        """Choose whose step is next; it stays in line, where `close` finds it. Lock held.

        Interactive methods take turns and go first; the others go in order, so that early ones
        finish and free their memory.
        """
        for ascent in self._gradients:
            if ascent.ticket.interactive:
                self._gradients.remove(ascent)
                self._gradients.append(ascent)
                return ascent
        return self._gradients[0] if self._gradients else None

    def _bulk_rows(self) -> int:
        tickets = [flight.ticket for flight in self._flights]
        tickets += [ascent.ticket for ascent in self._gradients]
        busy = any(ticket.interactive for ticket in tickets)
        return min(self.batch_rows, BULK_ROWS_BESIDE_INTERACTIVE) if busy else self.batch_rows

    def _score(self, batch: list[Slice]) -> None:
        try:
            self._answer(batch)
        except BaseException as error:  # noqa: BLE001 -- handed to the plans that it belongs to
            if len(batch) > 1:
                # One plan's rows must not take the others down: score each plan's share by itself.
                # The rows of the failed batch are not charged: company must not move a budget.
                for part in batch:
                    if not part.question.failed:
                        self._score([part])
            else:
                self._fail(batch[0].question, error)

    def _answer(self, batch: list[Slice]) -> None:
        started = time.perf_counter()
        rows = 0
        for part in batch:
            self._composer.compose(part.leaf, rows)
            rows += len(part)
        scores = checked(self.classifier, self._composer.inputs[:rows])
        seconds = time.perf_counter() - started
        shares = torch.split(scores, [len(part) for part in batch])
        for part, share in zip(batch, shares, strict=True):
            flight = part.question.flight
            flight.ticket.charge(len(part), seconds * len(part) / rows)
            if part.question.answer(part.at, share):
                self._steppers.submit(self._advance, flight, part.question.answers)

    def _fail(self, question: Question, error: BaseException) -> None:
        question.failed = True
        with self._change:
            self._questions.discard(question)
        if not isinstance(error, ClassifierFaultError):
            name = self.classifier.name
            fault = ClassifierFaultError(f"model {name!r} raised {type(error).__name__}: {error}")
            fault.__cause__ = error
            error = fault
        flight = question.flight
        error.add_note(f"{flight.ticket.about}, round {flight.rounds}")
        self._steppers.submit(self._finish, flight, error=error)

    def _step_gradient(self, ascent: Ascent) -> None:
        ticket = ascent.ticket
        kind = ticket.must_stop()
        if kind:
            self._end_gradient(ascent, error=_nothing(kind, ticket), stopped=kind)
            return
        started = time.perf_counter()
        try:
            event = next(ascent.steps)
            rows = event.rows if isinstance(event, Spent) else 0
            ticket.charge(rows, time.perf_counter() - started)
            ticket.on_event(event)
        except StopIteration as end:
            ticket.charge(0, time.perf_counter() - started)
            if isinstance(end.value, Generator):
                self._go_on(ascent, end.value)
            else:
                self._end_gradient(ascent, value=end.value)
        except BaseException as error:  # noqa: BLE001 -- whatever it was belongs to the caller
            error.add_note(ticket.about)
            self._end_gradient(ascent, error=error)

    def _go_on(self, ascent: Ascent, plan: QueryPlan[Any]) -> None:
        """Let a gradient method whose steps are done go on as the plan that they ended in."""
        repeats = Repeats(self.classifier.spec.classes)
        flight = Flight(plan, ascent.ticket, ascent.bytes_held + KEPT_BYTES, repeats)
        with self._change:
            self._gradients.remove(ascent)
            self._entrance.add(flight)
            self._admit()

    def _end_gradient(
        self,
        ascent: Ascent,
        *,
        value: object = None,
        error: BaseException | None = None,
        stopped: StopKind | None = None,
    ) -> None:
        error = closed(ascent.steps, error)
        with self._change:
            self._gradients.remove(ascent)
        _resolve(ascent.ticket, value=value, error=error, stopped=stopped)


def _nothing(kind: StopKind, ticket: Ticket[Any]) -> BaseException:
    if kind == "cancelled":
        return CancelledError(f"{ticket.about} was cancelled")
    limits = ticket.limits
    limit = f"{limits.max_inputs}" if kind == "inputs" else f"{limits.max_seconds:.3g}"
    spent = f"{ticket.about} spent its budget (max_{kind} = {limit})"
    return QueryBudgetError(f"{spent} before it found anything")


def _resolve(
    ticket: Ticket[Any],
    *,
    value: object = None,
    error: BaseException | None = None,
    stopped: StopKind | None = None,
) -> None:
    ticket.close(stopped)
    if error is None:
        ticket.future.set_result(value)
    else:
        ticket.future.set_exception(error)
