"""The road that all dataset jobs share: survey, skip what is published, explain, merge, publish."""

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
import torch

from xaiserve.contrast_use import check_contrast_use
from xaiserve.dispatch.cancelling import Lookout, forget
from xaiserve.dispatch.owning import Ownership, owned
from xaiserve.errors import ConflictError, JobStoppedError, XaiServeError
from xaiserve.explainers.base import Explainer, GradientExplainer, needs_of
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.classifier import Classifier
from xaiserve.pipelines.cluster import Placement
from xaiserve.pipelines.config import MIN_ROWS, JobConfig
from xaiserve.pipelines.cutting import MAX_TASKS, Cutter
from xaiserve.pipelines.finishing import Finisher
from xaiserve.pipelines.progress import Progress, Reporter, State
from xaiserve.pipelines.running import team_for
from xaiserve.pipelines.tasks import Task, describe, shared_digest, task_id
from xaiserve.pipelines.worker import PartReport, WorkOrder, load_model, open_contrasts
from xaiserve.storage.dataset import read_manifest
from xaiserve.storage.ids import IdSet, as_keys, key_of, keys_of
from xaiserve.storage.images import ImageList, open_images
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.opening import open_store
from xaiserve.storage.outcomes import FAILURES
from xaiserve.storage.results import ResultSet, open_results
from xaiserve.storage.survey import Survey, survey, unchanged

_AT_ONCE: Final = 1024
"""Tasks looked up at once among those that have a row."""

_RESULT_BYTES: Final = 256 << 20
_BYTES_PER_PIXEL: Final = 16
"""A map, a mask and what else a result holds, roughly: bounds the memory of a chunk's results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A configuration and all that follows from it before the first explanation.

    Parameters
    ----------
    images, known
        The input, which is walked through and not held, and what a first walk found.
    settings
        What decides the results, as JSON values: an output holds one of these.
    shared
        Per method, `shared_digest` of its tasks.
    pixels
        Of the model's input.
    """

    config: JobConfig
    finisher: Finisher
    model_digest: str
    images: ImageList
    known: Survey
    settings: Mapping[str, Any]
    shared: Mapping[str, str]
    pixels: int

    @property
    def total(self) -> int:
        """How many explanations there are to be."""
        return self.known.rows * len(self.shared)

    def tasks(self, method: str) -> Iterator[Task]:
        """Make the tasks of one method, in the order of the rows.

        Raises
        ------
        ConflictError
            At the end: the input has changed.
        """
        shared = self.shared[method]
        return (
            Task(task_id(shared, digest), row) for row, digest in unchanged(self.images, self.known)
        )

    def task_ids(self) -> IdSet:
        """Collect the ids of all tasks: 16 bytes each.

        Raises
        ------
        ConflictError
            The input has changed.
        """
        keys = bytearray()
        for _, digest in unchanged(self.images, self.known):
            for shared in self.shared.values():
                keys += key_of(task_id(shared, digest))
        return IdSet.of(as_keys(keys))

    def order(self, results: ResultSet, threads: int) -> WorkOrder:
        """Say what a worker must know."""
        return WorkOrder(
            config=self.config,
            config_digest=results.config_digest,
            model_digest=self.model_digest,
            finisher=self.finisher,
            threads=threads,
        )


def plan_job(config: JobConfig, finisher: Finisher) -> Job:
    """Read the model, and the input once.

    Raises
    ------
    XaiServeError
        Images, model, a method, an option, or what contrast pictures come from is wrong.
    """
    explainers = [make_explainer(name, config.options.get(name)) for name in config.methods]
    here = planned_here(config)
    model = load_model(here)
    for explainer in explainers:
        if isinstance(explainer, GradientExplainer):
            model.gradients()  # raises now rather than in a thousand rows
    images = open_images(
        config.images,
        config.limit,
        root=config.images_root,
        folder_labels=config.folder_labels,
    )
    known = survey(images)
    deciding = config.deciding() | {"model": model.digest}
    contrast = _contrast_digest(here, explainers, model, known)
    return Job(
        config=config,
        finisher=finisher,
        model_digest=model.digest,
        images=images,
        known=known,
        settings={
            **(deciding | contrast),
            "methods": [describe(each) for each in explainers],
            # The digest stands for the rows, of which there may be a million.
            "images": {"rows": known.rows, "digest": known.digest},
        },
        shared={
            each.name: shared_digest(
                each, deciding | (contrast if "contrast" in needs_of(each) else {})
            )
            for each in explainers
        },
        pixels=model.spec.height * model.spec.width,
    )


def planned_here(config: JobConfig) -> JobConfig:
    """Let the CPU plan for a GPU that only workers have: a cluster's head is seldom given one."""
    if not config.device.startswith("cuda") or torch.cuda.device_count():
        return config
    return dataclasses.replace(config, device="cpu", precision="fp32", translator_device=None)


def _contrast_digest(
    config: JobConfig, explainers: Sequence[Explainer], model: Classifier, known: Survey
) -> dict[str, str]:
    """Open what contrast pictures come from, once, so that what is wrong with it is told here."""
    check_contrast_use(explainers, config.contrasts, stored=not known.without_contrast)
    provider = open_contrasts(config, model.spec, model.scores, images=known.without_contrast)
    return {} if provider is None else {"contrast": provider.digest}


def run_job(job: Job, placement: Placement, tell: Callable[[Progress], None]) -> Progress:
    """Explain what has no row yet, and publish the data set.

    Raises
    ------
    ConflictError
        The output holds another configuration, another process works on it, the input changes
        while the job runs, or the rows whose errors are to be done again are published.
    JobStoppedError
        It was cancelled, too many rows hold errors, or another process has taken over.
    StoreUnavailableError, ModelUnavailableError
        The job could not go on; what was published stays, and running again goes on from there.
    """
    begun = time.time()
    store = open_store(job.config.out)
    results = open_results(store, job.settings)
    if job.config.retry_errors:
        _check_open(store)

    def wait(reason: str) -> None:
        tell(Progress(state="waiting", total=job.total, reason=reason))

    with owned(store, wait) as ownership:
        forget(store, before=begun)  # a wish for an earlier run; one since then is for this
        return _owned_run(job, results, placement, ownership, tell)


def _check_open(store: ObjectStore) -> None:
    """Refuse to promise that errors are done again where the rows are published."""
    published = read_manifest(store)
    failed = 0 if published is None else sum(published.counts.get(each, 0) for each in FAILURES)
    if failed:
        raise ConflictError(
            f"the job at {store.uri} is done and its rows are published, {failed} of them with "
            "errors, which retry_errors cannot do again; name another output to explain them anew"
        )


def _owned_run(
    job: Job,
    results: ResultSet,
    placement: Placement,
    ownership: Ownership,
    tell: Callable[[Progress], None],
) -> Progress:
    store = open_store(job.config.out)
    tasks = job.task_ids()
    outcomes = results.done().among(tasks)
    if job.config.retry_errors and not results.settled:
        outcomes = outcomes.taken(np.flatnonzero(~outcomes.failed))
    reporter = Reporter(
        store,
        total=len(tasks),
        resumed=len(outcomes),
        failed=int(outcomes.failed.sum()),
        tell=tell,
    )
    reporter.start()
    done = outcomes.tasks
    del outcomes
    try:
        if read_manifest(store) is None:
            return _run(
                job, results, placement, (tasks, done), reporter=reporter, ownership=ownership
            )
        results.finish(tasks)
    except BaseException as error:
        # Once it is done it stays so, whatever becomes of Ray.
        if not (ownership.lost or reporter.told_done):
            with suppress(XaiServeError):  # the first error says why; a lost store refuses, too
                reporter.enter(_ended_as(error), str(error))
        raise
    return reporter.enter("done")


def _run(
    job: Job,
    results: ResultSet,
    placement: Placement,
    sets: tuple[IdSet, IdSet],
    *,
    reporter: Reporter,
    ownership: Ownership,
) -> Progress:
    """Explain and merge; ``sets`` are all tasks and those that are done."""
    tasks, done = sets
    lookout = Lookout(open_store(job.config.out))

    def watch() -> None:
        ownership.check()
        lookout.check()
        reporter.beat()

    def count(report: PartReport) -> None:
        reporter.add(done=report.done, failed=report.failed, model_inputs=report.model_inputs)
        reporter.check_errors(job.config.max_error_share, MIN_ROWS)

    with team_for(placement, lambda threads: job.order(results, threads), watch) as team:
        if len(done) < len(tasks):
            team.explain(cutter_for(job, done, team.workers), count)
        reporter.enter("merging")
        results.finish(tasks, team.merge)
        return reporter.enter("done")  # told before Ray is ended, which takes a while


def _ended_as(error: BaseException) -> State:
    if isinstance(error, JobStoppedError):
        return "cancelled" if error.cancelled else "stopped"
    return "stopped" if isinstance(error, KeyboardInterrupt) else "failed"


def cutter_for(job: Job, done: IdSet, workers: int) -> Cutter:
    """Cut what has no row yet into chunks."""
    return Cutter(
        {method: waiting(job.tasks(method), done) for method in job.shared},
        left=job.total - len(done),
        workers=workers,
        size=job.config.tasks_per_part,
        most=max(1, min(MAX_TASKS, _RESULT_BYTES // (_BYTES_PER_PIXEL * job.pixels))),
    )


def waiting(tasks: Iterable[Task], done: IdSet) -> Iterator[Task]:
    """Leave out the tasks that have a row."""
    every = iter(tasks)
    while batch := list(islice(every, _AT_ONCE)):
        there = done.holds(keys_of(task.task_id for task in batch))
        yield from (task for task, known in zip(batch, there, strict=True) if not known)
