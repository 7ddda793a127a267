"""A dataset job in this process, without Ray: the same rows and files."""

from pathlib import Path

from xaiserve.pipelines.dataset import Job, cutter_for
from xaiserve.pipelines.worker import Worker
from xaiserve.storage.ids import IdSet
from xaiserve.storage.opening import open_store
from xaiserve.storage.results import open_results


def run_here(job: Job, *, finish: bool = True) -> Path:
    """Do a job, and publish it unless ``finish`` says otherwise; return its output."""
    results = open_results(open_store(job.config.out), job.settings)
    worker = Worker(job.order(results, threads=1))
    for chunk in cutter_for(job, IdSet.of_texts([]), workers=1):
        report = worker.publish(chunk)
        assert not report.fault, report.fault
    if finish:
        results.finish(job.task_ids())
    return Path(job.config.out)
