"""Rows of jobs as they are counted for Prometheus."""

from collections.abc import Callable, Iterable, Iterator

import pytest

from tests.pipelines.test_tasks import numbered
from xaiserve.errors import ModelUnavailableError, WorkerLostError
from xaiserve.pipelines.cutting import Cutter
from xaiserve.pipelines.pool import Pool
from xaiserve.pipelines.running import Team
from xaiserve.pipelines.tasks import Chunk
from xaiserve.pipelines.worker import PartReport, Worker
from xaiserve.testing.meters import MemoryMeter

Answer = PartReport | WorkerLostError


class Answering(Pool[Worker]):
    """A pool without workers: each chunk has the answer that it is given."""

    def __init__(self, answer: Callable[[Chunk], Answer]) -> None:
        self._answer = answer

    def map(
        self, _method: str, items: Iterable[Chunk], *, poll: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[Chunk, Answer]]:
        for chunk in items:
            poll()
            yield chunk, self._answer(chunk)


def counted(answer: Callable[[Chunk], Answer], meter: MemoryMeter) -> None:
    cutter = Cutter({"rise": numbered(4), "lime": numbered(2)}, left=6, workers=1, size=2)
    Team(Answering(answer), 1, lambda: None, meter).explain(cutter, lambda _: None)


def test_each_published_row_is_counted_by_method_and_whether_it_holds_an_error():
    meter = MemoryMeter()
    counted(lambda chunk: PartReport(done=2, failed=int(chunk.method == "rise")), meter)

    assert {key: n for key, n in meter.counts.items() if n} == {
        ("xaiserve_job_rows", "rise", "ok"): 2,
        ("xaiserve_job_rows", "rise", "error"): 2,
        ("xaiserve_job_rows", "lime", "ok"): 2,
    }


def test_rows_over_which_workers_died_are_counted_once_they_are_published():
    meter = MemoryMeter()

    def answer(chunk: Chunk) -> Answer:
        if chunk.lost:
            return PartReport(done=1, failed=1)
        if any(task.task_id == "1" for task in chunk.tasks) and chunk.method == "rise":
            return WorkerLostError("its worker died")
        return PartReport(done=len(chunk.tasks))

    counted(answer, meter)
    assert meter.counts["xaiserve_job_rows", "rise", "ok"] == 3
    assert meter.counts["xaiserve_job_rows", "rise", "error"] == 1
    assert meter.counts["xaiserve_job_rows", "lime", "ok"] == 2


def test_rows_that_could_not_be_published_are_not_counted():
    meter = MemoryMeter()

    with pytest.raises(ModelUnavailableError, match="it differs"):
        counted(lambda _: PartReport(fault="it differs"), meter)
    assert not meter.counts
