"""`Workers`: models in actors of the running Ray, and the lanes that lead to them."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final

import ray
from ray.exceptions import RayError, RayTaskError

from xaiserve.dispatch.parcels import Parcel
from xaiserve.dispatch.remote import RemoteLane, WorkerLostError
from xaiserve.dispatch.scorer import Card, Fault, Outcome, Scorer, joined
from xaiserve.errors import ModelUnavailableError
from xaiserve.models.classifier import Classifier

PATIENCE_S: Final = 120.0
"""How long a worker may take to start and to load the model."""

PIECE_BYTES: Final = 90_000
"""Most bytes of scores that come back as one object. Ray sends up to 100 kB with the reply itself;
what is larger takes the way through the object store, 2 ms longer and on the worker's time."""

_LOOK_S: Final = 0.5
"""How often a wait for workers looks whether they are still wanted."""


@dataclass(frozen=True, slots=True, eq=False)
class RayWorker:
    """A `Scorer` in a Ray actor."""

    actor: Any  # Any: Ray's handles have no types
    card: Card
    rows: int

    def score(self, parcel: Parcel) -> Callable[[], Outcome]:
        """See `Worker.score`."""
        pieces = -(-4 * parcel.rows * self.card.classes // PIECE_BYTES)
        scoring = self.actor.score_in_pieces.options(num_returns=pieces)
        return partial(_outcome, scoring.remote(parcel, pieces))

    def dismiss(self) -> None:
        """See `Worker.dismiss`."""
        ray.kill(self.actor)


def _outcome(references: Any) -> Outcome:  # Any: one reference, or a list of them
    try:
        pieces = ray.get(references)
    except RayTaskError:
        raise
    except RayError as error:
        raise WorkerLostError(_first_line(error)) from error
    return joined(pieces)


class Workers:
    """Start workers on the running Ray, and end them on leaving.

    A worker that dies is replaced by a new one; meanwhile the others do its work.

    Parameters
    ----------
    make
        Loads the model; called in every worker, so that it must pickle and mean the same there.
    count
        How many workers, at least 1.
    threads
        Threads of each, at least 1; Ray reserves as many CPUs.
    gpus
        GPUs that Ray reserves for each; a fraction shares one.
    rows
        Rows per batch; the best of what the first worker measures when none.
    digest
        The model that they must hold; that of the first worker when none.
    patience_s
        Seconds within which they must answer.

    Attributes
    ----------
    lanes
        For `Engine(classifier, lanes=...)`; close the engine before the workers.

    Raises
    ------
    ModelUnavailableError
        They did not start in time, the model cannot be loaded there, or it is another one.
    """

    def __init__(
        self,
        make: Callable[[], Classifier],
        count: int,
        *,
        threads: int = 1,
        gpus: float = 0.0,
        rows: int | None = None,
        digest: str | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        for name, number in {"count": count, "threads": threads}.items():
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        self._make = make
        self._threads = threads
        self._gpus = gpus
        self._digest = digest
        self._patience_s = patience_s
        self._rows = rows
        self._closed = threading.Event()
        ready = self._hired(count)
        self.lanes: Sequence[RemoteLane] = [
            RemoteLane(worker, lambda: self._hired(1)[0], ready[0].rows) for worker in ready
        ]

    def __enter__(self) -> "Workers":  # noqa: PYI034 -- run-time shape checks refuse Self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, those on their way too; safe to call twice."""
        self._closed.set()
        for lane in self.lanes:
            lane.close()

    def _start(self) -> Any:  # Any: Ray's handles have no types
        kind = ray.remote(num_cpus=self._threads, num_gpus=self._gpus, max_restarts=0)(Scorer)
        return kind.remote(self._make, threads=self._threads)

    def _hired(self, count: int) -> list[RayWorker]:
        """Start workers and wait until all are ready, with the same model."""
        actors = [self._start() for _ in range(count)]
        try:
            cards = self._cards(actors)
            self._digest = self._digest or cards[0].digest
            for card in cards:
                self._check(card)
            # The first measures while the others are idle.
            self._rows = int(ray.get(actors[0].prepare.remote(self._rows)))
            ray.get([actor.prepare.remote(self._rows) for actor in actors[1:]])
        except BaseException as error:
            for actor in actors:
                ray.kill(actor)
            if isinstance(error, RayError):
                raise ModelUnavailableError(f"a worker died: {_first_line(error)}") from error
            raise
        return [
            RayWorker(actor, card, self._rows) for actor, card in zip(actors, cards, strict=True)
        ]

    def _cards(self, actors: Sequence[Any]) -> list[Card]:
        loading = [actor.load.remote() for actor in actors]
        until = time.monotonic() + self._patience_s
        late = loading
        while late:
            loaded, late = ray.wait(loading, num_returns=len(loading), timeout=_LOOK_S)
            if self._closed.is_set():
                raise ModelUnavailableError("the workers are closed")
            if late and time.monotonic() > until:
                raise ModelUnavailableError(self._late(len(loaded), len(loading)))
        cards = []
        for card in ray.get(loading):
            if isinstance(card, Fault):
                raise ModelUnavailableError(f"a worker cannot load the model: {card.text}")
            cards.append(card)
        return cards

    def _check(self, card: Card) -> None:
        if card.digest != self._digest:
            raise ModelUnavailableError(
                f"model {card.name!r} differs between processes: digest {card.digest[:12]} in a "
                f"worker, {self._digest:.12} expected"
            )

    def _late(self, answered: int, wanted: int) -> str:
        free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
        return (
            f"workers must answer within {self._patience_s:g} s, and {answered} of {wanted} do: "
            f"each needs {self._threads} CPUs and {self._gpus:g} GPUs, and {free.get('CPU', 0):g} "
            f"and {free.get('GPU', 0):g} are free"
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
