"""The ``pointing-game`` job: explain, and compare with the ground truth of each image."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from xaiserve.errors import InvalidInputError
from xaiserve.pipelines.cluster import Placement
from xaiserve.pipelines.config import JobConfig
from xaiserve.pipelines.dataset import Job, plan_job, run_job
from xaiserve.pipelines.pointing import PointingFinisher
from xaiserve.pipelines.progress import Progress
from xaiserve.pipelines.summaries import Summary, publish
from xaiserve.pipelines.tables import POINTING_KIND
from xaiserve.storage.opening import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(JobConfig):
    """See `JobConfig`; every row of the input has ground truth: a mask, boxes or outlines.

    Parameters
    ----------
    tolerance_px
        Radius of the pointing game's disc in pixels of the model's input, at least 0.
    """

    kind: ClassVar[str] = POINTING_KIND

    tolerance_px: float = 15.0

    @override
    def __post_init__(self) -> None:
        super(Config, self).__post_init__()  # a class with slots has no zero-argument super
        if not self.tolerance_px >= 0:
            raise InvalidInputError(f"tolerance_px must be at least 0, got {self.tolerance_px}")

    @override
    def deciding(self) -> dict[str, Any]:
        return {**super(Config, self).deciding(), "tolerance_px": self.tolerance_px}


def plan(config: Config) -> Job:
    """Plan the job.

    Raises
    ------
    InvalidInputError
        An image has no ground truth.
    XaiServeError
        See `plan_job`.
    """
    job = plan_job(config, PointingFinisher(config.tolerance_px))
    if job.known.without_truth is not None:
        raise InvalidInputError(
            "images must be COCO annotations, or a manifest with boxes or a mask for every row, "
            f"{job.known.without_truth!r} has none"
        )
    return job


def run(
    config: Config, placement: Placement, tell: Callable[[Progress], None] = lambda _: None
) -> Summary:
    """Explain a data set and score it; the summary is published as ``_summary.json``, too.

    Raises
    ------
    XaiServeError
        See `plan` and `run_job`.
    """
    run_job(plan(config), placement, tell)
    return publish(open_store(config.out), config)
