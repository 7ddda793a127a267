"""Ray, joined or started for the length of one job, and how many workers it gets."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import ray

from xaiserve.errors import InvalidInputError

OBJECT_STORE_BYTES: Final = 200 << 20
"""Only names and counts pass through Ray: workers read pictures and publish rows themselves."""

_MAX_THREADS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The workers of a job.

    Parameters
    ----------
    workers
        Processes, each with a model of its own.
    threads
        Threads of each; Ray reserves as many CPUs.
    gpus
        GPUs that Ray reserves for each; a fraction shares one.
    """

    workers: int
    threads: int
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.workers < 1 or self.threads < 1:
            raise InvalidInputError(
                f"workers and threads must be at least 1, got {self.workers} and {self.threads}"
            )
        if self.gpus < 0:
            raise InvalidInputError(f"gpus must be at least 0, got {self.gpus:g}")

    @classmethod
    def filling(
        cls, cpus: int, *, workers: int | None = None, threads: int | None = None, gpus: float = 0.0
    ) -> "Crew":
        """Fill so many CPUs; small machines get more workers rather than more threads each.

        Explanations are independent, so that one thread per worker loses nothing to coordination;
        but each worker holds a model, so that large machines get up to four threads per worker.
        """
        threads = threads or max(1, min(_MAX_THREADS, cpus // 8))
        return cls(workers=workers or max(1, cpus // threads), threads=threads, gpus=gpus)

    @property
    def cpus(self) -> int:
        return self.workers * self.threads


@contextmanager
def ray_for(address: str | None, *, cpus: int) -> Iterator[None]:
    """Join the cluster at ``address``, or start one of ``cpus`` here when none, and leave it again.

    A connection that is there already is used and kept. What was started is ended with all its
    processes.

    Raises
    ------
    InvalidInputError
        No cluster answers at ``address``.
    """
    if ray.is_initialized():
        yield
        return
    try:
        _connect(address, cpus)
    except ConnectionError as error:
        raise InvalidInputError(
            f"address {address} answers no Ray cluster; start one with 'ray start --head', or "
            "leave the address out to run here"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _connect(address: str | None, cpus: int) -> None:
    if address:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        return
    ray.init(
        address="local",
        num_cpus=cpus,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def fitting(crew: Crew) -> Crew:
    """Reduce ``crew`` to the workers that the connected cluster has CPUs and GPUs for now.

    Ray would wait without a word for what never comes.

    Raises
    ------
    InvalidInputError
        Not even one worker fits.
    """
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    fit = int(free.get("CPU", 0) // crew.threads)
    if crew.gpus:
        fit = min(fit, int(free.get("GPU", 0) / crew.gpus))
    if not fit:
        raise InvalidInputError(
            f"threads and gpus must fit the cluster: a worker needs {crew.threads} CPUs and "
            f"{crew.gpus:g} GPUs, and {free.get('CPU', 0):g} and {free.get('GPU', 0):g} are free"
        )
    return Crew(workers=min(crew.workers, fit), threads=crew.threads, gpus=crew.gpus)
