"""`RemoteLane`: a worker somewhere else as a lane of an engine. No Ray here."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, runtime_checkable

import torch

from xaiserve.dispatch.parcels import Parcel, Sender
from xaiserve.dispatch.scorer import Answer, Fault, Missing, Outcome
from xaiserve.errors import ClassifierFaultError
from xaiserve.perturb.lanes import AHEAD, LaneLostError, Scored
from xaiserve.perturb.query import Leaf


class WorkerLostError(Exception):
    """A worker is gone, or cannot be reached; the message is one sentence."""


@runtime_checkable
class Worker(Protocol):
    """A `Scorer` in another process that is ready to score."""

    def score(self, parcel: Parcel) -> Callable[[], Outcome]:
        """Send a batch, and return what waits for its outcome.

        Both raise `WorkerLostError`.
        """
        ...

    def dismiss(self) -> None:
        """End it, whatever it is at; safe to call on one that is lost."""
        ...


class RemoteLane:
    """Sends batches to a worker, the next while this one is scored; hires another for a lost one.

    Parameters
    ----------
    worker
        The first one.
    hire
        Starts another and returns when it is ready; raises when none can be had.
    rows
        Most rows of a batch.

    Attributes
    ----------
    worker
        The one that scores now.
    """

    def __init__(self, worker: Worker, hire: Callable[[], Worker], rows: int) -> None:
        self.rows = rows
        self.depth = AHEAD
        self.worker = worker
        self._hire = hire
        self._sender = Sender()
        self._receiver = ThreadPoolExecutor(1, "xaiserve-receive")
        self._lock = threading.Lock()
        self._closed = False
        self._back: Future[None] = Future()
        self._back.set_result(None)

    def begin(self, leaves: Sequence[Leaf]) -> "Future[Scored]":
        """See `Lane.begin`."""
        worker = self.worker
        try:
            wait = worker.score(self._sender.pack(leaves))
        except WorkerLostError as error:
            raise self._lost(worker, error) from error
        return self._receiver.submit(self._receive, worker, wait, leaves)

    def close(self) -> None:
        """Dismiss the worker; batches under way end in an error."""
        with self._lock:
            self._closed = True
            self.worker.dismiss()
        self._receiver.shutdown()

    def _receive(
        self, worker: Worker, wait: Callable[[], Outcome], leaves: Sequence[Leaf]
    ) -> Scored:
        try:
            outcome = wait()
            if isinstance(outcome, Missing):
                outcome = worker.score(self._sender.pack(leaves, whole=True))()
        except WorkerLostError as error:
            raise self._lost(worker, error) from error
        match outcome:
            case Answer(scores, seconds):
                # Copied: what has travelled may lie in memory that others use.
                return Scored(torch.from_numpy(scores.copy()), seconds)
            case Fault(text):
                raise ClassifierFaultError(text)
            case Missing(numbers):
                raise RuntimeError(f"a worker was sent {sorted(numbers)} and does not keep them")

    def _lost(self, worker: Worker, error: WorkerLostError) -> LaneLostError:
        """Say that ``worker`` is lost; the first to notice has another hired."""
        with self._lock:
            if worker is self.worker and self._back.done() and not self._closed:
                self._back = self._receiver.submit(self._replace, worker)
        return LaneLostError(str(error), self._back)

    def _replace(self, lost: Worker) -> None:
        lost.dismiss()
        self._sender.forget()
        worker = self._hire()
        with self._lock:
            self.worker = worker
            if self._closed:
                worker.dismiss()
