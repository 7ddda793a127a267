"""The thread of a lane: it takes batches while the lane has room, and brings back the scores."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final

from xaiserve.perturb._batching import Slice
from xaiserve.perturb._desk import Desk
from xaiserve.perturb._gradients import Ascent, Gradients
from xaiserve.perturb._seat import Seat
from xaiserve.perturb._stepping import computing_alone
from xaiserve.perturb.lanes import Lane, LaneLostError, Scored

_LOOK_S = 0.2
"""How often plans that must stop are looked for while a lane is away: nothing else wakes it."""


NAME: Final = "xaiserve-feed"


class Feeder:
    """Feeds one lane.

    Parameters
    ----------
    desk
        Where the work is.
    lane
        Who does it; none for a feeder that only steps gradient methods.
    gradients
        Stepped between two batches, by one of the feeders; without a lane its thread is there only
        while there are any.
    alone
        Whether torch is to compute on this thread only, since other lanes have the other cores.
    """

    def __init__(
        self,
        desk: Desk,
        lane: Lane | None,
        gradients: Gradients | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self._seat = Seat(lane, alone=alone)
        desk.seats.append(self._seat)
        self._desk = desk
        self._gradients = gradients
        self._sent: deque[tuple[list[Slice], Future[Scored]]] = deque()
        self._alone = alone
        self._thread: threading.Thread | None = None
        self._running = False

    def start(self) -> None:
        """Start its thread, unless that runs."""
        with self._desk.change:
            if self._running:
                return
            self._running = True
        if self._alone:
            self._thread = computing_alone(self._run, NAME)
        else:
            self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
            self._thread.start()

    def join(self) -> None:
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._desk.change:
                work = self._next()
                self._running = work is not None
            if work is None:
                return
            work()

    def _next(self) -> Callable[[], None] | None:
        """Wait for something to do; none at the end. Lock held."""
        while True:
            if self._sent and self._sent[0][1].done():
                return self._bring
            if self._seat.back and self._seat.back.done():
                return partial(self._come_back, self._seat.back)
            batch = self._desk.take(self._seat)
            gradient = self._gradients.next() if self._gradients else None
            if batch or gradient:
                return partial(self._work, batch, gradient)
            if self._desk.finished() or (self._seat.lane is None and not self._gradients):
                return None
            self._desk.change.wait(_LOOK_S if self._seat.back else None)

    def _work(self, batch: list[Slice], gradient: Ascent | None) -> None:
        if batch:
            sent = _begin(self._seat.lane, batch)
            sent.add_done_callback(lambda _: self._wake())
            self._sent.append((batch, sent))
            # Scored already where the lane is this CPU: its plans go on before a gradient step.
            if sent.done():
                self._bring()
        if gradient and self._gradients:
            self._gradients.step(gradient)

    def _bring(self) -> None:
        batch, sent = self._sent.popleft()
        try:
            self._desk.bring(batch, sent.result())
        except LaneLostError as lost:
            self._lose([batch, *(later for later, _ in self._sent)], lost)
            return
        except BaseException as error:  # noqa: BLE001 -- handed to the plans that it belongs to
            if self._isolate(batch, error):
                return
        self._desk.brought(self._seat, 1)

    def _isolate(self, batch: list[Slice], error: BaseException) -> bool:
        """Score the slices of a failed batch one by one; true when the lane was lost over it.

        One plan's rows must not take the others down. The rows of the failed batch are not
        charged: company must not move a budget.
        """
        if len(batch) == 1:
            self._desk.fail(batch[0], error)
            return False
        for number, part in enumerate(batch):
            try:
                self._desk.bring([part], _begin(self._seat.lane, [part]).result())
            except LaneLostError as lost:
                self._lose([batch[number:], *(later for later, _ in self._sent)], lost)
                return True
            except BaseException as own:  # noqa: BLE001 -- as above
                self._desk.fail(part, own)
        return False

    def _lose(self, batches: list[list[Slice]], lost: LaneLostError) -> None:
        """Put back what the lane was given; only what it was at can be why it was lost."""
        self._sent.clear()
        # The first rows end up first again.
        for number in reversed(range(len(batches))):
            self._desk.give_back(batches[number], blamed=number == 0)
        lost.back.add_done_callback(lambda _: self._wake())
        with self._desk.change:
            self._seat.back = lost.back
        self._desk.brought(self._seat, self._seat.under_way)

    def _come_back(self, back: "Future[None]") -> None:
        try:
            back.result()
        except BaseException as error:  # noqa: BLE001 -- told to every plan, if it is the last lane
            self._desk.lane_gone(self._seat, error)
        with self._desk.change:
            self._seat.back = None
            self._desk.change.notify_all()

    def _wake(self) -> None:
        with self._desk.change:
            self._desk.change.notify_all()


def _begin(lane: Lane | None, batch: list[Slice]) -> "Future[Scored]":
    failed: Future[Scored] = Future()
    try:
        if lane is not None:
            return lane.begin([part.leaf for part in batch])
    except BaseException as error:  # noqa: BLE001 -- an error of the batch like any other
        failed.set_exception(error)
    return failed
