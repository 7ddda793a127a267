"""Gradient methods under way: stepped between two batches, by one thread."""

import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

from xaiserve.perturb._stepping import closed
from xaiserve.perturb.plan import Event, QueryPlan, Spent, StopKind
from xaiserve.perturb.ticket import Ticket


@dataclass(slots=True, eq=False)
class Ascent:
    """A gradient method under way, its ticket, and what the plan it may end in costs to keep."""

    steps: Generator[Event, None, Any]  # Any: the engine never looks at a result
    ticket: Ticket[Any]
    bytes_held: int


class Gradients:
    """The line of gradient methods.

    Parameters
    ----------
    change
        Guards the line.
    go_on
        Takes over a method whose steps are done and have ended in a plan; the lock is held.
    """

    def __init__(
        self, change: threading.Condition, go_on: Callable[[Ascent, QueryPlan[Any]], None]
    ) -> None:
        self._change = change
        self._go_on = go_on
        self._line: deque[Ascent] = deque()

    def __len__(self) -> int:
        return len(self._line)

    def __iter__(self) -> Iterator[Ascent]:
        return iter(self._line)

    def add(self, ascent: Ascent) -> None:
        """Put a method at the end of the line. Lock held."""
        self._line.append(ascent)
        self._change.notify_all()

    def next(self) -> Ascent | None:
        """Choose whose step is next; it stays in line, where who closes finds it. Lock held.

        Interactive methods take turns and go first; the others go in order, so that early ones
        finish and free their memory.
        """
        for ascent in self._line:
            if ascent.ticket.interactive:
                self._line.remove(ascent)
                self._line.append(ascent)
                return ascent
        return self._line[0] if self._line else None

    def step(self, ascent: Ascent) -> None:
        """Let a method make one step, or end when it must."""
        ticket = ascent.ticket
        kind = ticket.must_stop()
        if kind:
            self._end(ascent, error=ticket.nothing(kind), stopped=kind)
            return
        started = time.perf_counter()
        try:
            event = next(ascent.steps)
            rows = event.rows if isinstance(event, Spent) else 0
            ticket.charge(rows, time.perf_counter() - started)
            ticket.on_event(event)
        except StopIteration as end:
            ticket.charge(0, time.perf_counter() - started)
            self._done(ascent, end.value)
        except BaseException as error:  # noqa: BLE001 -- whatever it was belongs to the caller
            error.add_note(ticket.about)
            self._end(ascent, error=error)

    def _done(self, ascent: Ascent, value: object) -> None:
        if not isinstance(value, Generator):
            self._end(ascent, value=value)
            return
        with self._change:
            self._line.remove(ascent)
            self._go_on(ascent, value)

    def _end(
        self,
        ascent: Ascent,
        *,
        value: object = None,
        error: BaseException | None = None,
        stopped: StopKind | None = None,
    ) -> None:
        error = closed(ascent.steps, error)
        with self._change:
            self._line.remove(ascent)
            self._change.notify_all()
        ascent.ticket.resolve(value=value, error=error, stopped=stopped)
