"""What waits in the engine: plans for admission, questions for the model."""

from collections import deque
from collections.abc import Collection, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from xaiserve.perturb.plan import Event, QueryPlan
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


@dataclass(slots=True, eq=False)
class Ascent:
    """A gradient method under way, its ticket, and what the plan it may end in costs to keep."""

    steps: Generator[Event, None, Any]  # Any: the engine never looks at a result
    ticket: Ticket[Any]
    bytes_held: int


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


class Question:
    """One query of one plan, answered slice by slice."""

    def __init__(self, flight: Flight, query: Query, classes: int) -> None:
        self.flight = flight
        self.answers: Scores = torch.empty(len(query), classes)
        self._leaves = [leaf for leaf in leaves(query) if len(leaf)]
        self._leaf = 0
        self._row = 0
        self._taken = 0
        self._left = len(query)
        self.failed = False

    @property
    def exhausted(self) -> bool:
        """Whether every row has been taken (answers may still be on their way)."""
        return self._leaf == len(self._leaves)

    @property
    def alone(self) -> bool:
        return self._leaves[self._leaf].alone

    def take(self, rows: int) -> "Slice":
        """Take up to ``rows`` of the current leaf."""
        leaf = self._leaves[self._leaf]
        part = leaf[self._row : self._row + rows]
        taken = Slice(self, part, self._taken)
        self._taken += len(part)
        self._row += len(part)
        if self._row == len(leaf):
            self._leaf, self._row = self._leaf + 1, 0
        return taken

    def answer(self, at: int, scores: Scores) -> bool:
        """Note the scores of a slice; true when that was the last."""
        self.answers[at : at + len(scores)] = scores
        self._left -= len(scores)
        return self._left == 0


@dataclass(slots=True, eq=False)
class Slice:
    """Some rows of a question, in a batch."""

    question: Question
    leaf: Leaf
    at: int

    def __len__(self) -> int:
        return len(self.leaf)


class Waiting:
    """Questions in two queues, interactive first; not thread-safe."""

    def __init__(self) -> None:
        self.interactive: deque[Question] = deque()
        self.bulk: deque[Question] = deque()

    def __bool__(self) -> bool:
        return bool(self.interactive or self.bulk)

    def add(self, question: Question) -> None:
        self._queue(question).append(question)

    def discard(self, question: Question) -> None:
        """Take out a question, if it waits still."""
        queue = self._queue(question)
        if question in queue:
            queue.remove(question)

    def remove_ended(self) -> list[Question]:
        """Take out the questions of plans that must stop."""
        ended = [question for question in self._all() if question.flight.ticket.must_stop()]
        for question in ended:
            self._queue(question).remove(question)
        return ended

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
        if not (batch and batch[0].leaf.alone):
            taken = sum(map(len, batch))
            self._fill_from(self.bulk, min(rows, taken + bulk_rows), batch)
        return batch

    def _fill_from(self, queue: deque[Question], rows: int, batch: list[Slice]) -> None:
        room = rows - sum(map(len, batch))
        for question in list(queue):
            while room > 0 and not question.exhausted:
                if question.alone:
                    if batch:
                        break
                    batch.append(question.take(1))
                    room = 0
                else:
                    batch.append(question.take(room))
                    room -= len(batch[-1])
            if question.exhausted:
                queue.remove(question)
            if room <= 0:
                return

    def _queue(self, question: Question) -> deque[Question]:
        return self.interactive if question.flight.ticket.interactive else self.bulk

    def _all(self) -> Iterator[Question]:
        yield from self.interactive
        yield from self.bulk
