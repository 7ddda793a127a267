"""What waits in the engine: plans for admission, questions for the model."""

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from xaiserve.perturb.plan import QueryPlan
from xaiserve.perturb.query import Leaf, Query, leaves
from xaiserve.perturb.repeats import Asked, Repeats
from xaiserve.perturb.ticket import Ticket
from xaiserve.types import Scores

BULK_ROWS_BESIDE_INTERACTIVE = 16
"""Cap on a batch of bulk rows while interactive work is in flight: it bounds the wait of the next
interactive question (`decisions` 15)."""


@dataclass(slots=True, eq=False)
class Flight:
    """A plan, its ticket, and what it costs to keep."""

    plan: QueryPlan[Any]  # Any: the engine never looks at a result
    ticket: Ticket[Any]
    bytes_held: int
    repeats: Repeats
    rounds: int = 0
    asked: Asked | None = None
    """The question under way."""


class Entrance:
    """Plans that wait until their bytes fit; not thread-safe.

    Interactive and bulk plans have the same number of bytes each, so that a house full of bulk
    plans never keeps an interactive one waiting.
    """

    def __init__(self, admit_bytes: int) -> None:
        self._admit_bytes = admit_bytes
        self._waiting: dict[bool, deque[Flight]] = {True: deque(), False: deque()}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def __iter__(self) -> Iterator[Flight]:
        yield from self._waiting[True]
        yield from self._waiting[False]

    def add(self, flight: Flight) -> None:
        self._waiting[flight.ticket.interactive].append(flight)

    def admit(self, inside: Collection[Flight]) -> list[Flight]:
        """Take out, in order, the plans that may start beside those ``inside``.

        One always may. So may every plan that must stop: it ends without having begun.
        """
        admitted: list[Flight] = []
        for interactive, waiting in self._waiting.items():
            alike = [one.bytes_held for one in inside if one.ticket.interactive is interactive]
            held, full = sum(alike), False
            for flight in list(waiting):
                full = full or (held > 0 and held + flight.bytes_held > self._admit_bytes)
                # Once one does not fit, later ones wait too, or a large plan would wait for ever.
                if full and not flight.ticket.must_stop():
                    continue
                waiting.remove(flight)
                admitted.append(flight)
                held += flight.bytes_held
        return admitted


@dataclass(slots=True)
class _Piece:
    """Rows ``start`` to ``stop`` of a leaf, of which the first is row ``at`` of the question."""

    leaf: Leaf
    start: int
    stop: int
    at: int

    def __len__(self) -> int:
        return self.stop - self.start


class Question:
    """One query of one plan: slices of it are taken and come back in any order; not thread-safe.

    Attributes
    ----------
    flight
        Who asks.
    answers
        (n, k) scores; whole once `over` and neither `ended` nor an `error`.
    ended
        The plan must stop: nothing more is taken.
    error
        Why there will be no answer.
    losses
        Times that whatever scored rows of it was lost meanwhile.
    """

    def __init__(self, flight: Flight, query: Query, classes: int) -> None:
        self.flight = flight
        self.answers: Scores = torch.empty(len(query), classes)
        self.ended = False
        self.error: BaseException | None = None
        self.losses = 0
        self._pieces: deque[_Piece] = deque()
        self._left = 0
        self._out = 0
        for leaf in leaves(query):
            if len(leaf):
                self._pieces.append(_Piece(leaf, 0, len(leaf), self._left))
                self._left += len(leaf)

    @property
    def rows(self) -> int:
        """Rows to be taken."""
        return sum(map(len, self._pieces))

    @property
    def exhausted(self) -> bool:
        """Whether every row has been taken (answers may still be on their way)."""
        return not self._pieces

    @property
    def alone(self) -> bool:
        """Whether the next row is scored in a batch of its own."""
        return self._pieces[0].leaf.alone

    @property
    def apart(self) -> bool:
        """Whether the next rows share no batch with other questions."""
        return self.losses > 0 or self.alone

    @property
    def over(self) -> bool:
        """Whether nothing of it is under way and nothing more is to come."""
        return not self._out and (self.ended or self.error is not None or not self._left)

    def take(self, rows: int) -> "Slice":
        """Take up to ``rows`` of the next leaf."""
        piece = self._pieces.popleft()
        stop = min(piece.stop, piece.start + rows)
        if stop < piece.stop:
            at = piece.at + stop - piece.start
            self._pieces.appendleft(_Piece(piece.leaf, stop, piece.stop, at))
        self._out += 1
        return Slice(self, piece.leaf[piece.start : stop], piece.at)

    def bring(self, taken: "Slice", scores: Scores | None) -> None:
        """Bring back a slice, answered or, without ``scores``, to be dropped."""
        self._out -= 1
        if scores is not None:
            self.answers[taken.at : taken.at + len(scores)] = scores
            self._left -= len(scores)

    def give_back(self, taken: "Slice") -> None:
        """Bring back a slice that must be taken again."""
        self._out -= 1
        self._pieces.appendleft(_Piece(taken.leaf, 0, len(taken), taken.at))


@dataclass(slots=True, eq=False)
class Slice:
    """Some rows of a question, in a batch."""

    question: Question
    leaf: Leaf
    at: int

    def __len__(self) -> int:
        return len(self.leaf)

    @property
    def apart(self) -> bool:
        """Whether it shares no batch with other questions."""
        return self.leaf.alone or self.question.losses > 0


class Waiting:
    """Questions in two queues, interactive first; not thread-safe."""

    def __init__(self) -> None:
        self.interactive: deque[Question] = deque()
        self.bulk: deque[Question] = deque()

    def __bool__(self) -> bool:
        return bool(self.interactive or self.bulk)

    @property
    def rows(self) -> int:
        """Rows to be taken, of all questions."""
        return sum(question.rows for question in self._all())

    def add(self, question: Question) -> None:
        self._queue(question).append(question)

    def add_first(self, question: Question) -> None:
        """Put a question whose rows came back before the others, if it does not wait still."""
        queue = self._queue(question)
        if question not in queue:
            queue.appendleft(question)

    def discard(self, question: Question) -> None:
        """Take out a question, if it waits still."""
        queue = self._queue(question)
        if question in queue:
            queue.remove(question)

    def remove_ended(self) -> list[Question]:
        """Take out the questions of plans that must stop."""
        ended = [question for question in self._all() if question.flight.ticket.must_stop()]
        for question in ended:
            question.ended = True
            self._queue(question).remove(question)
        return ended

    def remove_all(self) -> list[Question]:
        """Take out every question."""
        found = list(self._all())
        self.interactive.clear()
        self.bulk.clear()
        return found

    def fill(self, rows: int, *, bulk_rows: int) -> list[Slice]:
        """Take up to ``rows`` for the next batch, of which bulk questions get ``bulk_rows`` in all.

        Interactive questions take turns, so that a predict does not wait for a whole search; bulk
        questions go in order, so that early plans finish and free their memory. A row that must be
        scored alone makes a batch of its own.
        """
        batch: list[Slice] = []
        self._fill_from(self.interactive, rows, batch)
        for question in {id(part.question): part.question for part in batch}.values():
            if question in self.interactive:
                self.interactive.remove(question)
                self.interactive.append(question)
        if not (batch and batch[0].apart):
            taken = sum(map(len, batch))
            self._fill_from(self.bulk, min(rows, taken + bulk_rows), batch)
        return batch

    def _fill_from(self, queue: deque[Question], rows: int, batch: list[Slice]) -> None:
        room = rows - sum(map(len, batch))
        for question in list(queue):
            while room > 0 and not question.exhausted:
                apart = question.apart
                if apart and batch:
                    break
                batch.append(question.take(1 if question.alone else room))
                room = 0 if apart else room - len(batch[-1])
            if question.exhausted:
                queue.remove(question)
            if room <= 0:
                return

    def _queue(self, question: Question) -> deque[Question]:
        return self.interactive if question.flight.ticket.interactive else self.bulk

    def _all(self) -> Iterator[Question]:
        yield from self.interactive
        yield from self.bulk
