"""What a job would cost, from a few of its images: nothing is written and no cluster is joined."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Any, Final

from xaiserve.errors import XaiServeError
from xaiserve.pipelines.cluster import Placement, crew_for
from xaiserve.pipelines.dataset import Job
from xaiserve.pipelines.progress import duration
from xaiserve.pipelines.tasks import Chunk
from xaiserve.pipelines.worker import PartReport, Worker
from xaiserve.storage.objects import exists
from xaiserve.storage.opening import open_store
from xaiserve.storage.results import ResultSet, digest_of
from xaiserve.storage.versions import JOB

PROBED: Final = 3
PROBE_S: Final = 8.0
"""Images of each method that are tried, and for how long at most, but for the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodEstimate:
    """One method: its explanations, and the means over those that were tried.

    Parameters
    ----------
    tried, failed
        Images that were explained, and those among them that have an error.
    """

    method: str
    explanations: int
    tried: int
    failed: int
    model_inputs: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A job before it begins.

    Parameters
    ----------
    done
        Explanations that are there already.
    workers
        Processes that would work, on this machine.
    """

    out: str
    images: int
    done: int
    workers: int
    methods: tuple[MethodEstimate, ...]

    @property
    def explanations(self) -> int:
        return sum(each.explanations for each in self.methods)

    @property
    def model_inputs(self) -> float:
        """Of all explanations."""
        return sum(each.explanations * each.model_inputs for each in self.methods)

    @property
    def seconds(self) -> float:
        """Of what is left, without start and end."""
        whole = sum(each.explanations * each.seconds for each in self.methods) / self.workers
        return whole * (self.explanations - self.done) / self.explanations

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        totals = {"explanations": self.explanations, "model_inputs": self.model_inputs}
        return {**dataclasses.asdict(self), **totals, "seconds": self.seconds}

    def render(self) -> str:
        """Say it in lines."""
        head = f"{self.images} images, {self.explanations} explanations, {self.done} are there"
        methods = [
            f"  {each.method}: {each.model_inputs:.0f} model inputs and {each.seconds:.2f} s per "
            f"image ({each.tried} tried{self._failures(each)})"
            for each in self.methods
        ]
        whole = (
            f"about {self.model_inputs:.3g} model inputs in all; {duration(self.seconds)} on "
            f"{self.workers} workers of this machine"
        )
        lines = [head, *methods, whole]
        return "\n".join(lines)

    @staticmethod
    def _failures(each: MethodEstimate) -> str:
        return f", {each.failed} failed" if each.failed else ""


def estimate(job: Job, placement: Placement, gpus: float = 0.0) -> Estimate:
    """Explain a few images by each method, and say what all of them would cost.

    Raises
    ------
    XaiServeError
        What the job itself would raise.
    """
    store = open_store(job.config.out)
    results = ResultSet(store, digest_of(job.settings))
    crew = crew_for(placement, placement.cpus, gpus or placement.worker_gpus)
    worker = Worker(job.order(results, crew.threads))
    begun = exists(store, JOB)
    return Estimate(
        out=store.uri,
        images=job.known.rows,
        done=len(results.done().among(job.task_ids())) if begun else 0,
        workers=crew.workers,
        methods=tuple(_of_method(job, worker, method) for method in job.shared),
    )


def _of_method(
    job: Job, worker: Worker, method: str, clock: Callable[[], float] = monotonic
) -> MethodEstimate:
    reports: list[PartReport] = []
    started = clock()
    # The first is tried twice, for what a process pays once.
    first, *others = islice(job.tasks(method), PROBED)
    for task in (first, first, *others):
        report = worker.probe(Chunk(method, (task,)))
        if report.fault:
            raise XaiServeError(report.fault)
        reports.append(report)
        if clock() - started > PROBE_S:
            break
    counted = reports[1:] or reports
    return MethodEstimate(
        method=method,
        explanations=job.known.rows,
        tried=len(counted),
        failed=sum(each.failed for each in counted),
        model_inputs=sum(each.model_inputs for each in counted) / len(counted),
        seconds=sum(each.seconds for each in counted) / len(counted),
    )
