"""Where plans leave their questions and lanes take them: all that the engine's one lock guards."""

import threading
from collections.abc import Callable, Iterable, Sequence
from math import ceil
from typing import Any, Final

import torch

from xaiserve.errors import ClassifierFaultError, ModelUnavailableError, XaiServeError
from xaiserve.perturb._batching import (
    BULK_ROWS_BESIDE_INTERACTIVE,
    Entrance,
    Flight,
    Question,
    Slice,
    Waiting,
)
from xaiserve.perturb._gradients import Ascent, Gradients
from xaiserve.perturb._seat import Seat
from xaiserve.perturb.lanes import Scored, fault_of
from xaiserve.perturb.plan import QueryPlan
from xaiserve.perturb.repeats import KEPT_BYTES, Repeats
from xaiserve.perturb.ticket import Ticket
from xaiserve.perturb.totals import Totals
from xaiserve.types import Scores

MOST_LOSSES: Final = 3
"""Workers that may die over the rows of one question before the question is given up."""


OnBatch = Callable[[Sequence[Ticket[Any]], int, float], object]
"""Hears of a batch that was scored: whose rows it held, how many, and the seconds it took."""


class Desk:
    """Questions on their way to lanes and answers on their way back; thread-safe.

    Parameters
    ----------
    name, classes
        Of the model.
    admit_bytes
        See `Engine`.
    advance
        Lets a plan start, go on with the scores of its question, or, without, end as it must.
    fail
        Ends a plan in an error.
    on_batch
        Called on the thread of a lane, before the plans of a batch go on.
    """

    def __init__(
        self,
        name: str,
        classes: int,
        *,
        admit_bytes: int,
        advance: Callable[[Flight, Scores | None], object],
        fail: Callable[[Flight, BaseException], object],
        on_batch: OnBatch | None = None,
    ) -> None:
        self.change = threading.Condition()
        self.seats: list[Seat] = []
        self.questions = Waiting()
        self.gradients = Gradients(self.change, self._go_on)
        self._name = name
        self._classes = classes
        self._advance = advance
        self._fail = fail
        self._entrance = Entrance(admit_bytes)
        self._flights: set[Flight] = set()
        self._closing = False
        self._no_lanes = ""
        self._totals = Totals()
        self._on_batch = on_batch

    def __len__(self) -> int:
        """Plans and gradient methods that have come and not left."""
        with self.change:
            return len(self._flights) + len(self._entrance) + len(self.gradients)

    @property
    def totals(self) -> Totals:
        with self.change:
            return self._totals

    @property
    def pending_rows(self) -> int:
        """Rows that have been asked for and wait for a batch."""
        with self.change:
            return self.questions.rows

    # -- plans -------------------------------------------------------------------------------

    def enter(self, plan: QueryPlan[Any], ticket: Ticket[Any], bytes_held: int) -> None:
        """Let a plan in; it starts when its bytes fit."""
        with self.change:
            self._refuse_if_closed()
            self._enter(plan, ticket, bytes_held)

    def enter_steps(self, ascent: Ascent) -> None:
        """Let a gradient method in."""
        with self.change:
            self._refuse_if_closed()
            self.gradients.add(ascent)

    def ask(self, question: Question) -> None:
        """Leave a question; its plan is advanced, or fails, when it is over."""
        with self.change:
            self.questions.add(question)
            if self._closing:
                self._end(self.questions.remove_ended())
            if self._no_lanes:
                self._give_up()
            self.change.notify_all()

    def leave(self, flight: Flight) -> None:
        """Let a plan go, and others start in its place."""
        with self.change:
            self._flights.discard(flight)
            repeated = flight.ticket.cost.repeated_questions
            self._totals += Totals(repeated_questions=repeated)
            self._admit()
            self.change.notify_all()

    def close(self) -> list[Ticket[Any]]:
        """Cancel all that has come and not left, and refuse what comes."""
        with self.change:
            self._closing = True
            here = (*self._flights, *self._entrance, *self.gradients)
            tickets: list[Ticket[Any]] = [each.ticket for each in here]
            for ticket in tickets:
                ticket.cancel()
            self.change.notify_all()
        return tickets

    def _enter(self, plan: QueryPlan[Any], ticket: Ticket[Any], bytes_held: int) -> None:
        repeats = Repeats(self._classes)
        self._entrance.add(Flight(plan, ticket, bytes_held + KEPT_BYTES, repeats))
        self._admit()

    def _go_on(self, ascent: Ascent, plan: QueryPlan[Any]) -> None:
        """Let a gradient method whose steps are done go on as the plan that they ended in."""
        self._enter(plan, ascent.ticket, ascent.bytes_held)

    def _admit(self) -> None:
        for flight in self._entrance.admit(self._flights):
            self._flights.add(flight)
            self._advance(flight, None)

    def _refuse_if_closed(self) -> None:
        if self._closing:
            raise RuntimeError("the engine is closed")

    # -- lanes -------------------------------------------------------------------------------

    def take(self, seat: Seat) -> list[Slice]:
        """Take the next batch for a lane; empty when there is none for it now. Lock held.

        Lanes that have less to do go first, and those that have as little share what is there. So
        do lanes of one core each though they are busy, since they are about to be free: the last
        rows of a question are over sooner on all cores than on one.
        """
        self._end(self.questions.remove_ended())
        if self._entrance:
            self._admit()
        if not (self.questions and seat.lane and seat.has_room):
            return []
        free = [other.under_way for other in self.seats if other.has_room]
        if min(free) < seat.under_way:
            return []
        rows = min(seat.lane.rows, ceil(self.questions.rows / self._sharers(seat)))
        if len(free) > 1:
            self._lanes_changed()
        seat.under_way += 1
        self._totals += Totals(batches=1, room=seat.lane.rows)
        return self.questions.fill(rows, bulk_rows=self._bulk_rows(rows))

    def _sharers(self, seat: Seat) -> int:
        """Count the lanes among which the rows that wait are shared."""
        here = [other for other in self.seats if other.lane and not other.back]
        return sum(other.is_core or other.under_way == seat.under_way for other in here)

    def bring(self, batch: list[Slice], scored: Scored) -> None:
        """Note the scores of a batch."""
        rows = sum(map(len, batch))
        shares: Sequence[Scores] = [scored.scores]
        if len(batch) > 1:
            shares = torch.split(scored.scores, [len(part) for part in batch])
        if self._on_batch is not None:
            tickets = dict.fromkeys(part.question.flight.ticket for part in batch)
            self._on_batch(tuple(tickets), rows, scored.seconds)
        with self.change:
            self._totals += Totals(model_inputs=rows, device_seconds=scored.seconds)
            for part, share in zip(batch, shares, strict=True):
                question = part.question
                question.flight.ticket.charge(len(part), scored.seconds * len(part) / rows)
                question.bring(part, share)
                self._end([question])

    def brought(self, seat: Seat, batches: int) -> None:
        """Note that a lane has room again."""
        with self.change:
            seat.under_way -= batches
            self._lanes_changed()

    def _lanes_changed(self) -> None:
        """Tell lanes that wait for each other; cores, one batch each, only wait for questions."""
        if not all(seat.is_core for seat in self.seats if seat.lane):
            self.change.notify_all()

    def fail(self, part: Slice, error: BaseException) -> None:
        """End the question whose rows the model failed on."""
        question = part.question
        with self.change:
            self.questions.discard(question)
            question.error = question.error or self._fault(question, error)
            question.bring(part, None)
            self._end([question])

    def give_back(self, batch: list[Slice], *, blamed: bool) -> None:
        """Put rows back in line, first; ``blamed`` when they may be why a lane was lost."""
        with self.change:
            for question in {part.question for part in batch}:
                question.losses += blamed
                if question.losses > MOST_LOSSES and question.error is None:
                    why = f"{question.losses} workers have died over its rows"
                    question.error = self._unavailable(question, why)
                    self.questions.discard(question)
            for part in reversed(batch):
                self._give_back(part)

    def _give_back(self, part: Slice) -> None:
        question = part.question
        if question.ended or question.error is not None:
            question.bring(part, None)
            self._end([question])
        else:
            question.give_back(part)
            self.questions.add_first(question)

    def lane_gone(self, seat: Seat, error: BaseException) -> None:
        """Go on without a lane for good; without any, plans that ask end in an error."""
        with self.change:
            seat.lane = None
            if not any(other.lane for other in self.seats):
                self._no_lanes = f"no worker is left: {error}"
                self._give_up()

    def finished(self) -> bool:
        """Say whether threads may end. Lock held."""
        return self._closing and not len(self)

    def _give_up(self) -> None:
        questions = self.questions.remove_all()
        for question in questions:
            question.error = question.error or self._unavailable(question, self._no_lanes)
        self._end(questions)

    def _end(self, questions: Iterable[Question]) -> None:
        """Let plans go on when nothing of their question is under way any more."""
        for question in questions:
            flight = question.flight
            if not question.over:
                continue
            if question.error is not None:
                self._fail(flight, question.error)
            else:
                # One that must stop gets no answer, and will not miss it.
                self._advance(flight, None if question.ended else question.answers)

    def _fault(self, question: Question, error: BaseException) -> XaiServeError:
        if isinstance(error, ModelUnavailableError):
            return self._unavailable(question, str(error))
        fault = ClassifierFaultError(f"{_whose(question)}: {fault_of(self._name, error)}")
        fault.__cause__ = error
        return fault

    def _unavailable(self, question: Question, why: str) -> ModelUnavailableError:
        lost = f"{_whose(question)}: cannot go on with model {self._name!r}: {why}"
        return ModelUnavailableError(lost)

    def _bulk_rows(self, rows: int) -> int:
        tickets = [each.ticket for each in (*self._flights, *self.gradients)]
        busy = any(ticket.interactive for ticket in tickets)
        return min(rows, BULK_ROWS_BESIDE_INTERACTIVE) if busy else rows


def _whose(question: Question) -> str:
    """Name the plan that has asked, and which of its questions it was."""
    return f"{question.flight.ticket.about}, round {question.flight.rounds}"
