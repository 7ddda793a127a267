"""What a caller holds while the engine runs a plan: limits, cost, and the ticket itself."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import Generic, cast

from xaiserve.errors import QueryBudgetError
from xaiserve.perturb.plan import Event, StopKind, T


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one plan may spend.

    Parameters
    ----------
    max_inputs
        Rows the model may score, at least 1.
    max_seconds
        Wall time from submission, in seconds, above 0.
    """

    max_inputs: int | None = None
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.max_inputs is not None and self.max_inputs < 1:
            raise ValueError(f"max_inputs must be at least 1, got {self.max_inputs}")
        if self.max_seconds is not None and self.max_seconds <= 0:
            raise ValueError(f"max_seconds must be above 0, got {self.max_seconds}")

    def affords(self, used: int, rows: int, *, verifying: int) -> bool:
        """Say whether ``rows`` more may be scored, of which ``verifying`` alone.

        A reserve of a twentieth, at most 32 rows, is kept for verification, so that a search which
        runs out of budget still returns only what was scored alone: rows that search must leave it
        whole, rows that verify may use it up, in one question too.
        """
        if self.max_inputs is None:
            return True
        searching = rows - verifying
        reserve = min(32, self.max_inputs // 20) if searching else 0
        return used + rows <= self.max_inputs and used + searching <= self.max_inputs - reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one plan has spent so far.

    Parameters
    ----------
    model_inputs
        Rows scored by the model for this plan.
    repeated_questions
        Rows answered from what the plan had asked before.
    batches
        Batches that held at least one of its rows.
    device_seconds
        Time in the model, shared among the plans of a batch by rows.
    wall_seconds
        Time since submission.
    stopped
        Why it ended early, if it did.
    """

    model_inputs: int = 0
    repeated_questions: int = 0
    batches: int = 0
    device_seconds: float = 0.0
    wall_seconds: float = 0.0
    stopped: StopKind | None = None


class Ticket(Generic[T]):
    """A plan in flight; thread-safe."""

    def __init__(
        self, about: str, limits: Limits, on_event: Callable[[Event], None], *, interactive: bool
    ) -> None:
        self.about = about
        self.limits = limits
        self.interactive = interactive
        self.future: Future[T] = Future()
        # Running from the start: only the engine resolves it, nobody can cancel it from outside.
        self.future.set_running_or_notify_cancel()
        self.on_event = on_event
        self._started = time.monotonic()
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._model_inputs = 0
        self._repeated = 0
        self._batches = 0
        self._device_seconds = 0.0
        self._wall_seconds: float | None = None
        self._stopped: StopKind | None = None

    def result(self, timeout: float | None = None) -> T:
        """Wait for the plan's result.

        Raises
        ------
        QueryBudgetError
            The limits were reached and the plan had nothing to give.
        concurrent.futures.CancelledError
            It was cancelled and had nothing to give.
        """
        return self.future.result(timeout)

    def cancel(self) -> None:
        """Ask the plan to end; it stops asking within one batch and may return what it has."""
        self._cancelled.set()

    @property
    def cost(self) -> Cost:
        with self._lock:
            wall = self._wall_seconds
            return Cost(
                model_inputs=self._model_inputs,
                repeated_questions=self._repeated,
                batches=self._batches,
                device_seconds=self._device_seconds,
                wall_seconds=time.monotonic() - self._started if wall is None else wall,
                stopped=self._stopped,
            )

    def must_stop(self) -> StopKind | None:
        """Say why the plan must end now, if it must."""
        if self._cancelled.is_set():
            return "cancelled"
        seconds = self.limits.max_seconds
        late = seconds is not None and time.monotonic() - self._started >= seconds
        return "seconds" if late else None

    def affords(self, rows: int, *, verifying: int) -> bool:
        """See `Limits.affords`."""
        return self.limits.affords(self._model_inputs, rows, verifying=verifying)

    def charge(self, rows: int, seconds: float) -> None:
        """Count one batch that held ``rows`` of this plan."""
        with self._lock:
            self._model_inputs += rows
            self._batches += 1
            self._device_seconds += seconds

    def charge_repeats(self, rows: int) -> None:
        """Count rows that were answered without the model."""
        with self._lock:
            self._repeated += rows

    def nothing(self, kind: StopKind) -> BaseException:
        """Say that it had to end before it found anything."""
        if kind == "cancelled":
            return CancelledError(f"{self.about} was cancelled")
        limits = self.limits
        limit = f"{limits.max_inputs}" if kind == "inputs" else f"{limits.max_seconds:.3g}"
        spent = f"{self.about} spent its budget (max_{kind} = {limit})"
        return QueryBudgetError(f"{spent} before it found anything")

    def resolve(
        self,
        *,
        value: object = None,
        error: BaseException | None = None,
        stopped: StopKind | None = None,
    ) -> None:
        """End it with a value or an error; only the engine does."""
        with self._lock:
            self._wall_seconds = time.monotonic() - self._started
            self._stopped = stopped
        if error is None:
            self.future.set_result(cast("T", value))
        else:
            self.future.set_exception(error)
