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
from concurrent.futures import CancelledError, ThreadPoolExecutor
from types import TracebackType
from typing import Any

import torch

from xaiserve.errors import ClassifierFaultError, QueryBudgetError
from xaiserve.models.classifier import Classifier
from xaiserve.perturb._batching import (
    BULK_ROWS_BESIDE_INTERACTIVE,
    Flight,
    Question,
    Slice,
    Waiting,
)
from xaiserve.perturb.compose import Composer
from xaiserve.perturb.drive import checked
from xaiserve.perturb.plan import Done, Event, QueryPlan, Spent, Stop, StopKind, T, step, stop
from xaiserve.perturb.query import Query, leaves
from xaiserve.perturb.ticket import Limits, Ticket
from xaiserve.types import Scores

Steps = Generator[Event, None, T]
"""A gradient method at work: it yields between optimisation steps and returns its explanation."""


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
        Plans are admitted while the sum of their stated bytes stays below this (one always is).
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
        self._admit_bytes = admit_bytes
        self._composer = Composer(classifier, self.batch_rows)
        self._change = threading.Condition()
        self._questions = Waiting()
        self._unadmitted: deque[Flight] = deque()
        self._gradients: deque[tuple[Steps[Any], Ticket[Any]]] = deque()
        self._flights: set[Flight] = set()
        self._closing = False
        self._steppers = ThreadPoolExecutor(
            steppers, "xaiserve-step", initializer=torch.set_num_threads, initargs=(1,)
        )
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
            return len(self._flights) + len(self._unadmitted) + len(self._gradients)

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
        flight = Flight(plan, ticket, bytes_in_flight)
        with self._change:
            self._refuse_if_closed()
            (self._unadmitted.appendleft if interactive else self._unadmitted.append)(flight)
            self._admit()
        return ticket

    def submit_steps(
        self,
        steps: Steps[T],
        *,
        about: str = "a gradient method",
        limits: Limits | None = None,
        interactive: bool = False,
        on_event: Callable[[Event], None] = _ignore,
    ) -> Ticket[T]:
        """Run a gradient method beside the weights, one step between two batches."""
        ticket: Ticket[T] = Ticket(about, limits or Limits(), on_event, interactive=interactive)
        with self._change:
            self._refuse_if_closed()
            pair = (steps, ticket)
            (self._gradients.appendleft if interactive else self._gradients.append)(pair)
            self._change.notify_all()
        return ticket

    def close(self) -> None:
        """Cancel what is in flight and end the threads; safe to call twice."""
        with self._change:
            self._closing = True
            flights = [*self._flights, *self._unadmitted]
            for flight in flights:
                flight.ticket.cancel()
            for _, ticket in self._gradients:
                ticket.cancel()
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
        else:
            self._post(flight, turn)

    def _turn(
        self, flight: Flight, scores: Scores | None
    ) -> tuple[Query | Done[Any], StopKind | None]:
        """Step to the next question or the end, telling events on the way."""
        while True:
            kind = flight.ticket.must_stop()
            if kind:
                return self._stop(flight, kind), kind
            turn = step(flight.plan, scores)
            scores = None
            if isinstance(turn, Done):
                return turn, None
            if isinstance(turn, Event):
                flight.ticket.on_event(turn)
                continue
            flight.rounds += 1
            verifying = all(leaf.alone for leaf in leaves(turn))
            if not flight.ticket.affords(len(turn), verifying=verifying):
                return self._stop(flight, "inputs"), "inputs"
            if len(turn):
                return turn, None
            scores = torch.empty(0, self.classifier.spec.classes)

    def _stop(self, flight: Flight, kind: StopKind) -> Done[Any]:
        if flight.rounds == 0:
            flight.plan.close()
            raise _nothing(kind, flight.ticket)
        try:
            return stop(flight.plan, kind)
        except Stop:
            raise _nothing(kind, flight.ticket) from None

    def _post(self, flight: Flight, query: Query) -> None:
        question = Question(flight, query, self.classifier.spec.classes)
        with self._change:
            self._questions.add(question)
            self._change.notify_all()

    def _finish(
        self,
        flight: Flight,
        *,
        value: object = None,
        error: BaseException | None = None,
        stopped: StopKind | None = None,
    ) -> None:
        flight.plan.close()
        with self._change:
            self._flights.discard(flight)
            self._admit()
            self._change.notify_all()
        _resolve(flight.ticket, value=value, error=error, stopped=stopped)

    def _admit(self) -> None:
        """Start waiting plans while their bytes fit; the lock is held."""
        held = sum(flight.bytes_held for flight in self._flights)
        while self._unadmitted:
            wanted = self._unadmitted[0].bytes_held
            if self._flights and held + wanted > self._admit_bytes:
                return
            flight = self._unadmitted.popleft()
            self._flights.add(flight)
            held += wanted
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
                if self._closing and not (self._flights or self._gradients or self._unadmitted):
                    return
                for question in self._questions.remove_ended():
                    self._steppers.submit(self._advance, question.flight, None)
                batch = self._questions.fill(self.batch_rows, bulk_rows=self._bulk_rows())
                gradient = self._gradients.popleft() if self._gradients else None
                if self._closing and not (batch or gradient):
                    self._change.wait()
            if batch:
                self._score(batch)
            if gradient:
                self._step_gradient(*gradient)

    def _bulk_rows(self) -> int:
        busy = any(flight.ticket.interactive for flight in self._flights)
        return min(self.batch_rows, BULK_ROWS_BESIDE_INTERACTIVE) if busy else self.batch_rows

    def _score(self, batch: list[Slice]) -> None:
        try:
            self._answer(batch)
        except Exception as error:  # noqa: BLE001 -- handed to the plans that it belongs to
            if len(batch) > 1:
                # One plan's rows must not take the others down: score each plan's share by itself.
                for part in batch:
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

    def _fail(self, question: Question, error: Exception) -> None:
        with self._change:
            for queue in (self._questions.interactive, self._questions.bulk):
                if question in queue:
                    queue.remove(question)
        if not isinstance(error, ClassifierFaultError):
            name = self.classifier.name
            fault = ClassifierFaultError(f"model {name!r} raised {type(error).__name__}: {error}")
            fault.__cause__ = error
            error = fault
        flight = question.flight
        error.add_note(f"{flight.ticket.about}, round {flight.rounds}")
        if flight in self._flights:
            self._finish(flight, error=error)

    def _step_gradient(self, steps: Steps[Any], ticket: Ticket[Any]) -> None:
        kind = ticket.must_stop()
        if kind:
            steps.close()
            _resolve(ticket, error=_nothing(kind, ticket), stopped=kind)
            return
        started = time.perf_counter()
        try:
            event = next(steps)
            rows = event.rows if isinstance(event, Spent) else 0
            ticket.charge(rows, time.perf_counter() - started)
            ticket.on_event(event)
        except StopIteration as end:
            ticket.charge(0, time.perf_counter() - started)
            _resolve(ticket, value=end.value)
        except Exception as error:  # noqa: BLE001 -- whatever it was belongs to the caller
            error.add_note(ticket.about)
            _resolve(ticket, error=error)
        else:
            with self._change:
                self._gradients.append((steps, ticket))


def _nothing(kind: StopKind, ticket: Ticket[Any]) -> BaseException:
    if kind == "cancelled":
        return CancelledError(f"{ticket.about} was cancelled")
    limit = f"max_{kind} = {getattr(ticket.limits, f'max_{kind}')}"
    return QueryBudgetError(f"{ticket.about} spent its budget ({limit}) before it found anything")


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
