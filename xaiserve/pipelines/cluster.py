"""Ray, joined or started for the length of one job, and how many workers it gets."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import ray
from ray.autoscaler.sdk import request_resources
from ray.autoscaler.v2.sdk import get_cluster_status

from xaiserve.errors import InvalidInputError

OBJECT_STORE_BYTES: Final = 200 << 20
"""Only names and counts pass through Ray: workers read pictures and publish rows themselves."""

_MAX_THREADS: Final = 4
_PATIENCE_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a job runs, and on how much.

    Parameters
    ----------
    address
        Of a Ray cluster, as `ray.init` takes it; none starts one here for the job.
    cpus
        CPUs of this machine that a cluster started here may use, at least 1.
    workers
        Processes, each with a model of its own; as many as the CPUs allow when none.
    threads
        Threads of each; Ray reserves as many CPUs. Chosen by the CPUs when none.
    gpus
        GPUs that Ray reserves for each worker; a fraction shares one.
    translator_gpus
        GPUs that it reserves for each worker's translator besides.
    """

    address: str | None = None
    cpus: int = 1
    workers: int | None = None
    threads: int | None = None
    gpus: float = 0.0
    translator_gpus: float = 0.0

    def __post_init__(self) -> None:
        for name in ("cpus", "workers", "threads"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise InvalidInputError(f"{name} must be at least 1, got {number}")
        for name in ("gpus", "translator_gpus"):
            if getattr(self, name) < 0:
                raise InvalidInputError(f"{name} must be at least 0, got {getattr(self, name):g}")

    @property
    def worker_gpus(self) -> float:
        """All that Ray reserves for one worker."""
        return self.gpus + self.translator_gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """The workers that a job gets."""

    workers: int
    threads: int
    gpus: float


def crew_for(placement: Placement, cpus: float, gpus: float) -> Crew:
    """Find the crew for so many free CPUs and GPUs.

    Explanations are independent, so that one thread per worker loses nothing to coordination; but
    each worker holds a model, so that large machines get up to four threads per worker.

    Raises
    ------
    InvalidInputError
        Not even one worker fits: Ray would wait without a word for what never comes.
    """
    threads = placement.threads or max(1, min(_MAX_THREADS, int(cpus) // 8))
    fit = int(cpus) // threads
    if placement.worker_gpus:
        fit = min(fit, int(gpus / placement.worker_gpus))
    if not fit:
        raise InvalidInputError(
            f"threads and gpus must fit what is free: a worker needs {threads} CPUs and "
            f"{placement.worker_gpus:g} GPUs, and {cpus:g} and {gpus:g} are free"
        )
    return Crew(
        workers=min(placement.workers or fit, fit), threads=threads, gpus=placement.worker_gpus
    )


def free_crew(placement: Placement) -> Crew:
    """Find the crew for what the connected cluster has free; see `crew_for`.

    A cluster that grows is asked for the workers that ``placement`` names, or for one when it names
    none, and is waited for as long as nodes are on their way. A cluster that has just been joined
    reports nothing as free for a moment, and one that is busy may be free soon: where nothing
    comes, this waits for 30 seconds and takes what there is.

    Raises
    ------
    InvalidInputError
        Not even one worker fits.
    """
    wanted = placement.workers or 1
    until = time.monotonic() + _PATIENCE_S
    with _asking_for(placement, wanted):
        while True:
            try:
                crew = _crew_now(placement)
            except InvalidInputError:
                if time.monotonic() > until:
                    raise
            else:
                if crew.workers >= wanted or time.monotonic() > until:
                    return crew
            time.sleep(0.5)
            if _growing():
                until = time.monotonic() + _PATIENCE_S


def _crew_now(placement: Placement) -> Crew:
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    return crew_for(placement, free.get("CPU", 0), free.get("GPU", 0))


@contextmanager
def _asking_for(placement: Placement, workers: int) -> Iterator[None]:
    """Ask the autoscaler, if there is one, for room, until the workers themselves take it."""
    worker = {"CPU": placement.threads or 1, "GPU": placement.worker_gpus}
    request_resources(bundles=[{name: n for name, n in worker.items() if n}] * workers)
    try:
        yield
    finally:
        request_resources(bundles=[])


def _growing() -> bool:
    """Say whether nodes are on their way."""
    status = get_cluster_status(ray.get_runtime_context().gcs_address)
    return bool(status.pending_launches or status.pending_nodes)


@contextmanager
def ray_for(placement: Placement) -> Iterator[None]:
    """Join the cluster that ``placement`` names, or start one here, and leave it again.

    A connection that is there already is used and kept. What was started is ended with all its
    processes.

    Raises
    ------
    InvalidInputError
        No cluster answers at the address.
    """
    if ray.is_initialized():
        yield
        return
    try:
        _connect(placement)
    except ConnectionError as error:
        raise InvalidInputError(
            f"address {placement.address} answers no Ray cluster; start one with "
            "'ray start --head', or leave the address out to run here"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _connect(placement: Placement) -> None:
    if placement.address:
        ray.init(address=placement.address, log_to_driver=False, logging_level=logging.ERROR)
        return
    ray.init(
        address="local",
        # Logical CPUs: more workers than CPUs are the caller's choice, and must not wait for ever.
        num_cpus=max(placement.cpus, (placement.workers or 1) * (placement.threads or 1)),
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
