"""The workers of one job: they explain chunk by chunk, and then merge the parts."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from xaiserve.dispatch.metrics import JOB_ROWS, Meter
from xaiserve.dispatch.ray_meter import RayMeter
from xaiserve.errors import ModelUnavailableError, StoreUnavailableError, WorkerLostError
from xaiserve.pipelines.cluster import Placement, free_crew, ray_for
from xaiserve.pipelines.cutting import Cutter
from xaiserve.pipelines.pool import Pool
from xaiserve.pipelines.worker import PartReport, Worker, WorkOrder
from xaiserve.storage.dataset import Part
from xaiserve.storage.merging import Merge


@dataclass(frozen=True, slots=True, eq=False)
class Team:
    """A pool of so many workers; ``watch`` is called now and then, and may end the job.

    What is published is counted here: once, also where a worker died and another did it again.
    """

    pool: Pool[Worker]
    workers: int
    watch: Callable[[], None]
    meter: Meter

    def explain(self, cutter: Cutter, count: Callable[[PartReport], None]) -> None:
        """Explain all chunks, and ``count`` each when it is published.

        A chunk whose worker dies again and again is divided until the image is found whose fault
        that is; it gets a row that says so.

        Raises
        ------
        StoreUnavailableError, ModelUnavailableError
            A worker cannot go on, and neither could another.
        """
        for chunk, answer in self.pool.map("publish", cutter, poll=self.watch):
            if isinstance(answer, WorkerLostError):
                cutter.take_back(chunk, str(answer))
                continue
            _check(answer)
            self._meter_rows(chunk.method, answer)
            cutter.learn(chunk.method, answer.done, answer.seconds)
            count(answer)

    def _meter_rows(self, method: str, published: PartReport) -> None:
        good = published.done - published.failed
        self.meter.count(JOB_ROWS, good, explainer=method, status="ok")
        self.meter.count(JOB_ROWS, published.failed, explainer=method, status="error")

    def merge(self, merges: Sequence[Merge]) -> list[Part]:
        """Write all files of merged rows.

        Raises
        ------
        WorkerLostError
            Workers die over one of them.
        """
        parts: list[Part] = []
        for _, answer in self.pool.map("merge", merges, poll=self.watch):
            if isinstance(answer, WorkerLostError):
                raise answer
            parts.append(answer)
        return parts


def _check(report: PartReport) -> None:
    if report.fault:
        kind = StoreUnavailableError if report.of_store else ModelUnavailableError
        raise kind(report.fault)


@contextmanager
def team_for(
    placement: Placement, order: Callable[[int], WorkOrder], watch: Callable[[], None]
) -> Iterator[Team]:
    """Join or start Ray, and hire as many workers as fit; ``order`` takes a worker's threads.

    Raises
    ------
    InvalidInputError
        See `ray_for` and `free_crew`.
    """
    with ray_for(placement):
        crew = free_crew(placement)
        pool = Pool(
            Worker, order(crew.threads), size=crew.workers, cpus=crew.threads, gpus=crew.gpus
        )
        try:
            yield Team(pool, crew.workers, watch, RayMeter())
        finally:
            pool.close()
