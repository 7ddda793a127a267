"""The road that all dataset jobs share: expand, skip what is published, explain, publish."""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray.data

from xaiserve.api import check_contrast_use
from xaiserve.errors import ModelUnavailableError, StoreUnavailableError, XaiServeError
from xaiserve.explainers.base import Explainer, GradientExplainer, needs_of
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.classifier import Classifier
from xaiserve.pipelines.cluster import Crew, Placement, free_crew, ray_for
from xaiserve.pipelines.config import JobConfig
from xaiserve.pipelines.progress import Progress, Reporter
from xaiserve.pipelines.tasks import (
    Chunk,
    Task,
    chunks,
    describe,
    make_tasks,
)
from xaiserve.pipelines.totals import FAILURES
from xaiserve.pipelines.work import Finisher
from xaiserve.pipelines.worker import (
    PartReport,
    Worker,
    WorkOrder,
    load_model,
    open_contrasts,
)
from xaiserve.storage.manifest import ImageRow, expand
from xaiserve.storage.opening import open_store
from xaiserve.storage.results import ResultSet, digest_of, open_results


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A configuration and all that follows from it before the first explanation.

    Parameters
    ----------
    settings
        What decides the results, as JSON values: an output holds one of these.
    tasks
        Per method, in the order of the rows.
    """

    config: JobConfig
    finisher: Finisher
    model_digest: str
    rows: tuple[ImageRow, ...]
    settings: Mapping[str, Any]
    tasks: Mapping[str, tuple[Task, ...]]

    @property
    def task_ids(self) -> frozenset[str]:
        return frozenset(task.task_id for tasks in self.tasks.values() for task in tasks)


def plan_job(config: JobConfig, finisher: Finisher) -> Job:
    """Read the input and the model, and make the tasks.

    Raises
    ------
    XaiServeError
        Images, model, a method, an option, or what contrast pictures come from is wrong.
    """
    explainers = [make_explainer(name, config.options.get(name)) for name in config.methods]
    model = load_model(config)
    for explainer in explainers:
        if isinstance(explainer, GradientExplainer):
            model.gradients()  # raises now rather than in a thousand rows
    rows = expand(config.images, config.limit)
    deciding = config.deciding() | {"model": model.digest}
    contrast = _contrast_digest(config, explainers, model, rows)
    return Job(
        config=config,
        finisher=finisher,
        model_digest=model.digest,
        rows=rows,
        settings=_settings(deciding | contrast, explainers, rows),
        tasks={
            each.name: make_tasks(
                rows, each, deciding | (contrast if "contrast" in needs_of(each) else {})
            )
            for each in explainers
        },
    )


def _contrast_digest(
    config: JobConfig,
    explainers: Sequence[Explainer],
    model: Classifier,
    rows: Sequence[ImageRow],
) -> dict[str, str]:
    """Open what contrast pictures come from, once, so that what is wrong with it is told here."""
    stored = all(row.contrast is not None for row in rows)
    check_contrast_use(explainers, config.contrasts, stored=stored)
    images = sum(row.contrast is None for row in rows)
    provider = open_contrasts(config, model.spec, model.scores, images=images)
    return {} if provider is None else {"contrast": provider.digest}


def _settings(
    deciding: Mapping[str, Any], explainers: Iterable[Explainer], rows: Sequence[ImageRow]
) -> dict[str, Any]:
    # The digest stands for the rows, of which there may be a million.
    inputs = {"rows": len(rows), "digest": digest_of([dataclasses.astuple(row) for row in rows])}
    return {**deciding, "methods": [describe(each) for each in explainers], "images": inputs}


def run_job(job: Job, placement: Placement, tell: Callable[[Progress], None]) -> Progress:
    """Explain what has no row yet, and publish the data set.

    Raises
    ------
    ConflictError
        The output holds another configuration.
    StoreUnavailableError, ModelUnavailableError
        The job could not go on; what was published stays, and running again goes on from there.
    """
    store = open_store(job.config.out)
    results = open_results(store, job.settings)
    statuses = results.done_tasks()
    done = job.task_ids & statuses.keys()
    reporter = Reporter(
        store,
        total=len(job.task_ids),
        resumed=len(done),
        failed=sum(statuses[task_id] in FAILURES for task_id in done),
        tell=tell,
    )
    reporter.start()
    try:
        if len(done) < len(job.task_ids):
            _explain(job, results, placement, done, reporter)
        results.finish(job.task_ids)
    except BaseException as error:
        with suppress(XaiServeError):  # the first error says why; a lost store refuses this, too
            reporter.end("stopped" if isinstance(error, KeyboardInterrupt) else "failed")
        raise
    return reporter.end("done")


def _explain(
    job: Job,
    results: ResultSet,
    placement: Placement,
    done: frozenset[str],
    reporter: Reporter,
) -> None:
    with ray_for(placement):
        crew = free_crew(placement)
        order = WorkOrder(
            config=job.config,
            config_digest=results.config_digest,
            model_digest=job.model_digest,
            finisher=job.finisher,
            threads=crew.threads,
        )
        for report in _reports(list(pending(job, done, crew.workers)), order, crew):
            if report.fault:
                kind = StoreUnavailableError if report.of_store else ModelUnavailableError
                raise kind(report.fault)
            reporter.add(done=report.done, failed=report.failed, model_inputs=report.model_inputs)


def pending(job: Job, done: frozenset[str], workers: int) -> Iterator[Chunk]:
    """Cut what has no row yet into chunks."""
    waiting = {
        method: [task for task in tasks if task.task_id not in done]
        for method, tasks in job.tasks.items()
    }
    return chunks(waiting, workers, job.config.tasks_per_part)


def _reports(waiting: Sequence[Chunk], order: WorkOrder, crew: Crew) -> Iterator[PartReport]:
    """Send chunks through a pool of workers; reports come as parts are published."""
    _silence()
    blocks = ray.data.from_items(
        [{"chunk": chunk.to_json()} for chunk in waiting], override_num_blocks=len(waiting)
    )
    published = blocks.map_batches(
        Worker,
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(crew.workers, len(waiting))),
        num_cpus=crew.threads,
        num_gpus=crew.gpus or None,
        fn_constructor_kwargs={"order": order},
    )
    for row in published.iter_rows():
        yield PartReport(**row)


def _silence() -> None:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
