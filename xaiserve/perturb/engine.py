"""`Engine`: many plans in flight on one classifier, continuous batching.

Whatever scores batches is a *lane*: the model in this process, or one elsewhere. Each lane has a
thread that fills batches with rows of whichever plans have asked, whenever the lane has room, and
brings the scores back. So nothing is assigned: one image's rows spread over the lanes that are
free, and answers are put together by row. Plans step on a small executor, one step at a time each,
never on those threads. None waits for a straggler: a plan goes on when its own question has been
answered.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any

import torch

from xaiserve.errors import QueryBudgetError
from xaiserve.models.classifier import Classifier
from xaiserve.perturb._batching import Flight, Question
from xaiserve.perturb._desk import Desk, OnBatch
from xaiserve.perturb._feeding import Feeder
from xaiserve.perturb._gradients import Ascent
from xaiserve.perturb._stepping import closed, single_threaded
from xaiserve.perturb.compose import Pictures
from xaiserve.perturb.lanes import Lane, LocalLane
from xaiserve.perturb.plan import Done, Event, QueryPlan, Stop, StopKind, T, step, stop
from xaiserve.perturb.query import leaves
from xaiserve.perturb.ticket import Limits, Ticket
from xaiserve.perturb.totals import Totals
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
        The model; as many threads at once call it as it has streams.
    lanes
        Who scores batches; none for the classifier in this process. All hold the same model. They
        belong to the caller, who closes them after the engine.
    batch_rows
        Rows per batch in this process; the classifier's own measured optimum when none.
    admit_bytes
        Plans are admitted while their stated bytes, and what the engine keeps for each, stay below
        this (one always is); counted apart for interactive plans and for the others.
    steppers
        Threads on which plans compute between questions.
    on_batch
        Hears of every batch, on the thread that feeds its lane.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        lanes: Sequence[Lane] = (),
        batch_rows: int | None = None,
        admit_bytes: int = 1 << 30,
        steppers: int = 2,
        on_batch: OnBatch | None = None,
    ) -> None:
        self.classifier = classifier
        self._own = [] if lanes else _local_lanes(classifier, batch_rows or classifier.batch_rows)
        self._steppers = single_threaded(steppers)
        self._desk = Desk(
            classifier.name,
            classifier.spec.classes,
            admit_bytes=admit_bytes,
            advance=lambda *given: self._steppers.submit(self._advance, *given),
            fail=lambda *given: self._steppers.submit(self._fail, *given),
            on_batch=on_batch,
        )
        # Gradient methods compute between the batches of the model in this process, if it scores
        # one at a time there; else on a thread of their own.
        single = self._own[0] if len(self._own) == 1 else None
        several = len(self._own) > 1
        self._stepping = Feeder(self._desk, single, self._desk.gradients)
        self._feeders = [Feeder(self._desk, lane) for lane in lanes]
        self._feeders += [Feeder(self._desk, lane, alone=True) for lane in self._own if several]
        if single:
            self._stepping.start()
        for feeder in self._feeders:
            feeder.start()

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
        return len(self._desk)

    @property
    def pending_inputs(self) -> int:
        """Model inputs that plans have asked for and that wait for a batch."""
        return self._desk.pending_rows

    @property
    def totals(self) -> Totals:
        """What has been done so far; repeated questions count when their plan ends."""
        return self._desk.totals

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
        self._desk.enter(plan, ticket, bytes_in_flight)
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
        self._desk.enter_steps(Ascent(steps, ticket, bytes_in_flight))
        self._stepping.start()
        return ticket

    def close(self) -> None:
        """Cancel what is in flight and end the threads; safe to call twice."""
        for ticket in self._desk.close():
            ticket.future.exception()
        for feeder in (self._stepping, *self._feeders):
            feeder.join()
        for lane in self._own:
            lane.close()
        self._steppers.shutdown()

    # -- stepping: on the executor -----------------------------------------------------------

    def _advance(self, flight: Flight, scores: Scores | None) -> None:
        try:
            turn, stopped = self._turn(flight, scores)
        except BaseException as error:  # noqa: BLE001 -- whatever it was belongs to the caller
            error.add_note(f"{flight.ticket.about}, round {flight.rounds}")
            if isinstance(error, CancelledError | QueryBudgetError):
                # It says all there is to say, and its frames hold the plan with all its arrays: the
                # ticket would keep them until the collector of cycles comes by.
                error.__traceback__ = error.__context__ = None
            self._finish(flight, error=error)
            return
        if isinstance(turn, Done):
            self._finish(flight, value=turn.value, stopped=stopped)
            return
        self._desk.ask(turn)

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
            raise flight.ticket.nothing(kind)
        try:
            return stop(flight.plan, kind, flight.ticket.on_event)
        except Stop:
            raise flight.ticket.nothing(kind) from None

    def _finish(
        self,
        flight: Flight,
        *,
        value: object = None,
        error: BaseException | None = None,
        stopped: StopKind | None = None,
    ) -> None:
        error = closed(flight.plan, error)
        self._desk.leave(flight)
        flight.ticket.resolve(value=value, error=error, stopped=stopped)

    def _fail(self, flight: Flight, error: BaseException) -> None:
        self._finish(flight, error=error)


def _local_lanes(classifier: Classifier, rows: int) -> list[LocalLane]:
    """Make a lane per stream of the model; they share the pictures."""
    pictures = Pictures(classifier)
    return [LocalLane(classifier, rows, pictures=pictures) for _ in range(classifier.streams)]
