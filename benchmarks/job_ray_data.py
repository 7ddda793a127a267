"""``job-ray-data``: a job on our pool of actors beside the same work on Ray Data, in one run.

Both walk one manifest with the job's own worker, which explains a chunk and publishes a part. Ray
Data reads the tasks as JSON lines and hands them out by `map_batches`, on as many actors and in
chunks as large as the pool's were on average; it writes no merged files at the end, so that the
pool's time is taken to the last part as well. What is compared is all that is not the model:
`job-manifest` says with what.
"""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import ray

from benchmarks.common import Report, report
from benchmarks.job_manifest import WORKERS, job_config
from xaiserve.pipelines.cluster import Placement, ray_for
from xaiserve.pipelines.dataset import Job, plan_job, run_job
from xaiserve.pipelines.explain import AsItIs
from xaiserve.pipelines.progress import Progress
from xaiserve.pipelines.tasks import Chunk, Task
from xaiserve.pipelines.worker import Worker, WorkOrder
from xaiserve.serve.config import prepare_environment
from xaiserve.storage.manifest import ImageRow
from xaiserve.storage.opening import open_store
from xaiserve.storage.results import open_results

ROWS: Final = 20_000
ROWS_QUICK: Final = 3_000
BAR: Final = 1.0
METHOD: Final = "occlusion"


def run(quick: bool) -> Report:
    """Run the job on both, the pool first and last; ``quick`` has fewer rows."""
    prepare_environment()
    rows = ROWS_QUICK if quick else ROWS
    with tempfile.TemporaryDirectory() as folder:
        before = _on_pool(_planned(Path(folder) / "before", rows))
        chunk = round(rows / before.parts)
        seconds = _on_ray_data(_planned(Path(folder) / "ray-data", rows), chunk)
        after = _on_pool(_planned(Path(folder) / "after", rows))
    ours = [rows / before.seconds, rows / after.seconds]
    theirs = rows / seconds
    ratio = sum(ours) / len(ours) / theirs
    return report(
        round(ratio, 2),
        BAR,
        holds=ratio >= BAR,
        figures={
            "rows": rows,
            "pool_rows_per_second": [round(rate, 1) for rate in ours],
            "ray_data_rows_per_second": round(theirs, 1),
            "rows_per_chunk": chunk,
            "workers": WORKERS,
        },
    )


def _planned(home: Path, rows: int) -> Job:
    home.mkdir()
    return plan_job(job_config(home, rows), AsItIs())


def _on_pool(job: Job) -> Progress:
    """Run the job; return its progress just after the last part was published."""
    told: list[Progress] = []
    run_job(job, Placement(cpus=WORKERS, workers=WORKERS), told.append)
    return next(each for each in told if each.state == "merging")


def _on_ray_data(job: Job, chunk: int) -> float:
    """Publish the parts of the job, and return the seconds from the start of Ray on."""
    order = job.order(open_results(open_store(job.config.out), job.settings), threads=1)
    tasks = Path(job.config.out).parent / "tasks.jsonl"
    lines = (json.dumps({"task": task.task_id, **asdict(task.row)}) for task in job.tasks(METHOD))
    tasks.write_text("\n".join(lines), encoding="utf-8")
    started = time.perf_counter()
    # One CPU more than workers, or its reading waits for ever for one that is free.
    with ray_for(Placement(cpus=WORKERS + 1)):
        published = ray.data.read_json(str(tasks), lines=True).map_batches(
            _Explain,
            batch_size=chunk,
            compute=ray.data.ActorPoolStrategy(size=WORKERS),
            num_cpus=1,
            fn_constructor_args=[order],
        )
        done = sum(row["done"] for row in published.iter_rows())
        seconds = time.perf_counter() - started
    if done != job.total:
        raise RuntimeError(f"{job.total} rows were to be done, {done} were")
    return seconds


class _Explain:
    """The job's worker, as Ray Data calls it."""

    def __init__(self, order: WorkOrder) -> None:
        self._worker = Worker(order)

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[int]]:
        pairs = zip(batch["task"], batch["row_id"], batch["uri"], strict=True)
        tasks = tuple(Task(task, ImageRow(row_id=row, uri=uri)) for task, row, uri in pairs)
        published = self._worker.publish(Chunk(METHOD, tasks))
        if published.fault:
            raise RuntimeError(published.fault)
        return {"done": [published.done]}
