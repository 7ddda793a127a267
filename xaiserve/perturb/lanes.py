"""Whatever scores batches for an engine: the model in this process, or one somewhere else.

An engine may have several lanes. Each takes its next batch from the same questions when it has
room, so that nothing is assigned before somebody is free to do it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from time import perf_counter
from typing import Final, NamedTuple, Protocol, runtime_checkable

import torch

from xaiserve.errors import ClassifierFaultError
from xaiserve.models.classifier import Classifier
from xaiserve.perturb.busy import busy_time
from xaiserve.perturb.compose import Composer, Pictures
from xaiserve.perturb.drive import checked
from xaiserve.perturb.query import Leaf
from xaiserve.types import Images, Scores

AHEAD: Final = 2
"""Batches that a lane holds which is not this CPU: one is scored, the next is on its way."""

ELSEWHERE: Final = 0.1
"""A model whose calls keep their thread busy, or waiting for a core, for a smaller share of their
time computes elsewhere: behind a network, or on a device that torch does not know."""

LOOKS: Final = 8
"""Calls in a row that must look so before that is said."""


class Scored(NamedTuple):
    """The scores of a batch, (n, k) in the order of its rows, and the seconds that they took."""

    scores: Scores
    seconds: float


class LaneLostError(Exception):
    """Whatever scored a batch is gone, and the batch with it: nobody's rows are at fault.

    Parameters
    ----------
    reason
        One sentence.
    back
        Resolves when the lane scores again, or to an error when it never will.
    """

    def __init__(self, reason: str, back: "Future[None]") -> None:
        super().__init__(reason)
        self.back = back


@runtime_checkable
class Lane(Protocol):
    """Scores batches, one after the other; used by one thread.

    Besides `LaneLostError`, an error of a batch is a `ClassifierFaultError`, or whatever else the
    model raised.
    """

    @property
    def rows(self) -> int:
        """Most rows of a batch."""
        ...

    @property
    def depth(self) -> int:
        """Batches that may be under way at once."""
        ...

    def begin(self, leaves: Sequence[Leaf]) -> "Future[Scored]":
        """Score the rows of ``leaves`` as one batch; what it raises is an error of the batch."""
        ...


class LocalLane:
    """The model in this process.

    On a CPU, composing and the model take turns: the same cores bound both. On another device the
    next batch is composed, into a buffer and on a stream of its own, while this one is scored; so
    it is, on a thread of its own, once a model is seen to compute `ELSEWHERE`.

    Parameters
    ----------
    classifier
        The model; the lane calls it from one thread at a time.
    rows
        Most rows of a batch, at least 1.
    depth
        Batches under way, 1 or more; by the device, and by what is seen, when none.
    pictures
        Shared by the lanes of one classifier; its own when none.
    clock, busy
        Seconds that have passed; seconds for which the thread that asks has wanted a core.
    """

    def __init__(
        self,
        classifier: Classifier,
        rows: int,
        *,
        depth: int | None = None,
        pictures: Pictures | None = None,
        clock: Callable[[], float] = perf_counter,
        busy: Callable[[], float] = busy_time,
    ) -> None:
        self.rows = rows
        self.depth = depth or (1 if classifier.device.type == "cpu" else AHEAD)
        self._classifier = classifier
        self._composer = Composer(classifier, rows, buffers=self.depth, pictures=pictures)
        self._free: SimpleQueue[Images] = SimpleQueue()
        for buffer in self._composer.buffers:
            self._free.put(buffer)
        self._stream = _stream(classifier.device) if self.depth > 1 else None
        self._scorer = _thread() if self.depth > 1 else None
        self._may_overlap = depth is None
        self._idle = 0
        self._clock = clock
        self._busy = busy

    def begin(self, leaves: Sequence[Leaf]) -> "Future[Scored]":
        """See `Lane.begin`; without depth the scores are there on return."""
        composed = self._compose(leaves)
        exact = any(leaf.alone for leaf in leaves)
        if self._scorer is not None:
            return self._scorer.submit(self._score, *composed, exact=exact)
        future: Future[Scored] = Future()
        started, busy = self._clock(), self._busy()
        future.set_result(self._score(*composed, exact=exact))
        self._look(self._clock() - started, self._busy() - busy)
        return future

    def close(self) -> None:
        """End the thread that scores, if there is one."""
        if self._scorer:
            self._scorer.shutdown()

    def _look(self, seconds: float, busy_seconds: float) -> None:
        """Note what a call took; compose ahead once the model is known to compute elsewhere."""
        self._idle = self._idle + 1 if busy_seconds < ELSEWHERE * seconds else 0
        if self._may_overlap and self._idle == LOOKS:
            self._free.put(torch.empty_like(self._composer.inputs))
            self._scorer = _thread()
            self.depth = AHEAD

    def _compose(self, leaves: Sequence[Leaf]) -> tuple[Images, int, float, "torch.Event | None"]:
        started = perf_counter()
        inputs = self._free.get()
        try:
            with torch.cuda.stream(self._stream):
                rows = self._composer.compose_all(leaves, inputs)
        except BaseException:
            self._free.put(inputs)
            raise
        ready = None if self._stream is None else self._stream.record_event()
        return inputs, rows, perf_counter() - started, ready

    def _score(
        self,
        inputs: Images,
        rows: int,
        composing: float,
        ready: "torch.Event | None",
        *,
        exact: bool,
    ) -> Scored:
        started = perf_counter()
        try:
            if ready is not None:
                torch.cuda.current_stream(inputs.device).wait_event(ready)
            scores = checked(self._classifier, inputs[:rows], exact=exact)
        finally:
            self._free.put(inputs)
        return Scored(scores, composing + perf_counter() - started)


def fault_of(name: str, error: BaseException) -> ClassifierFaultError:
    """Say that the model ``name`` is at fault, whatever it raised."""
    if isinstance(error, ClassifierFaultError):
        return error
    fault = ClassifierFaultError(f"model {name!r} raised {type(error).__name__}: {error}")
    fault.__cause__ = error
    return fault


def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "xaiserve-score")


def _stream(device: torch.device) -> "torch.cuda.Stream | None":
    if device.type != "cuda":
        return None
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
