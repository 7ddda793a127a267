"""A pool of Ray actors that is given work only as fast as it does it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

import ray

from xaiserve.errors import WorkerLostError

W = TypeVar("W")
R = TypeVar("R")

IN_FLIGHT: Final = 2
"""Items per actor, so that the images of one are read, and its rows written, beside the other."""

TRIES: Final = 4
"""How often an item may lose its actor before that is taken to be the item's fault."""

POLL_S: Final = 1.0


class Pool(Generic[W]):
    """Actors of one class; Ray starts them again, elsewhere if it must, and repeats what they held.

    Parameters
    ----------
    kind
        The class; its methods are called by several threads at once.
    argument
        Of its constructor.
    size, cpus, gpus
        How many actors, and what Ray reserves for each.
    """

    def __init__(
        self, kind: type[W], argument: object, *, size: int, cpus: int, gpus: float
    ) -> None:
        options = {"num_cpus": cpus, "num_gpus": gpus or None, "max_concurrency": IN_FLIGHT}
        forever = {"max_restarts": -1, "max_task_retries": TRIES - 1}
        actor: Any = ray.remote(kind).options(**options, **forever)  # Any: Ray is not typed
        self._actors = [actor.remote(argument) for _ in range(size)]
        self.calls = 0

    def map(
        self,
        method: str,
        items: Iterable[R],
        *,
        poll: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[R, Any]]:  # Any: what the method returns
        """Call ``method`` with each item; yield item and answer as they come.

        Items are taken one by one, when an actor has room for them, and again after there were
        none for a while. An item whose actor died `TRIES` times is answered by a
        `WorkerLostError`. ``poll`` is called every second or so, and may raise.
        """
        waiting, running = iter(items), dict[Any, tuple[R, int]]()
        free = [place for _ in range(IN_FLIGHT) for place in range(len(self._actors))]
        while True:
            while free and (item := next(waiting, None)) is not None:
                place = free.pop(0)
                running[getattr(self._actors[place], method).remote(item)] = (item, place)
                self.calls += 1
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1, timeout=POLL_S)
            poll()
            for reference in ready:
                item, place = running.pop(reference)
                free.append(place)
                yield item, _answer(reference)

    def close(self) -> None:
        """End the actors, whatever they do."""
        for actor in self._actors:
            ray.kill(actor)


def _answer(reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayActorError:
        return WorkerLostError(
            f"the process that worked on it died {TRIES} times; it may need more memory than there "
            "is"
        )
