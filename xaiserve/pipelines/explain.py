"""The ``explain`` job: one row with an explanation per image and method."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from xaiserve.explainers.base import Explainer, Explanation
from xaiserve.perturb.case import Case
from xaiserve.pipelines.cluster import Placement
from xaiserve.pipelines.config import JobConfig
from xaiserve.pipelines.dataset import Job, plan_job, run_job
from xaiserve.pipelines.finishing import Finisher, result_type
from xaiserve.pipelines.progress import Progress
from xaiserve.pipelines.summaries import Summary, publish
from xaiserve.pipelines.tasks import Task
from xaiserve.storage.opening import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(JobConfig):
    """See `JobConfig`."""

    kind: ClassVar[str] = "explain"


@dataclass(frozen=True, slots=True)
class AsItIs(Finisher):
    """Store explanations as the methods return them."""

    @override
    def result_type(self, explainer: Explainer) -> type[Explanation]:
        return result_type(explainer)

    @override
    def finish(self, task: Task, case: Case, explanation: Explanation) -> Explanation:
        return explanation


def plan(config: Config) -> Job:
    """Plan the job; see `plan_job`."""
    return plan_job(config, AsItIs())


def run(
    config: Config, placement: Placement, tell: Callable[[Progress], None] = lambda _: None
) -> Summary:
    """Explain a data set; running again after a stop goes on where it was.

    The summary of a job with scores is published as ``_summary.json``, too.

    Raises
    ------
    XaiServeError
        See `plan` and `run_job`.
    """
    run_job(plan(config), placement, tell)
    return publish(open_store(config.out), config)
