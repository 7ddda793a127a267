"""The trials of a sweep on Ray Tune, as many processes as fit, each with a trial at a time."""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import ray.tune
from ray.tune.experiment import Trial as TrialOfTune
from ray.tune.schedulers import ASHAScheduler
from typing_extensions import override

from xaiserve.errors import XaiServeError
from xaiserve.pipelines.cluster import Crew
from xaiserve.pipelines.progress import Reporter
from xaiserve.pipelines.space import Drawn
from xaiserve.pipelines.trial import Course, Order, Standing, work
from xaiserve.storage.opening import is_s3, open_store

Status = Literal["done", "stopped", "failed", "invalid"]

_KEPT: Final = 3
"""A trial goes on when it is in the best third of those that have seen as many images."""

_RETRIES: Final = 1
_NOTES: Final = ".ray-"
_FOUND: Final = tuple(field.name for field in dataclasses.fields(Standing))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One trial at its end.

    Parameters
    ----------
    number
        0 is the method without anything drawn.
    status
        ``stopped`` was behind and has not seen all images; ``invalid`` are values that do not go
        together, and were not run.
    parameters
        Those of the space.
    found
        The fields of its last `Standing`; empty when there is none.
    course
        What it reported on its way.
    """

    number: int
    status: Status
    parameters: Drawn
    reason: str = ""
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    course: Course = ()

    @property
    def ended(self) -> bool:
        """Whether another run of the sweep has nothing to find out about it."""
        return self.status in {"done", "stopped"}

    @property
    def value(self) -> float:
        """Mean of the objective."""
        return float(self.found["value"])

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return number, status, parameters and what was found."""
        return {**self._told(), "parameters": dict(self.parameters)}

    def columns(self) -> dict[str, Any]:  # Any: table cells
        """Return what its row holds beside the parameters."""
        return {**self._told(), "course": list(self.course)}

    def _told(self) -> dict[str, Any]:
        return {"trial": self.number, "status": self.status, "reason": self.reason, **self.found}

    @classmethod
    def of_row(cls, row: Mapping[str, Any], parameters: Drawn) -> "Outcome":
        """Read back what `columns` wrote."""
        return cls(
            number=row["trial"],
            status=row["status"],
            parameters=parameters,
            reason=row["reason"],
            found={name: row[name] for name in _FOUND},
            course=tuple(row["course"]),
        )


def try_all(
    order: Order,
    crew: Crew,
    reporter: Reporter,
    kept: Mapping[int, Outcome],
    keep: Callable[[Outcome], None],
) -> list[Outcome]:
    """Run all trials but those ``kept`` on the connected Ray, and return all in their order.

    ``keep`` is called with each as it ends.
    """
    resources = {"cpu": crew.threads} | ({"gpu": crew.gpus} if crew.gpus else {})
    courses = {number: each.course for number, each in sorted(kept.items())}
    numbers = [*courses, *(number for number in range(len(order.draws)) if number not in kept)]
    teller = _Teller(order, reporter, courses, keep)
    trial = ray.tune.with_parameters(work, order=order, courses=courses)
    with _place(order.sample.out) as place:
        tuner = ray.tune.Tuner(
            ray.tune.with_resources(trial, resources),
            param_space={"number": ray.tune.grid_search(numbers)},
            tune_config=ray.tune.TuneConfig(
                scheduler=_scheduler(order),
                max_concurrent_trials=crew.workers,
                reuse_actors=True,  # a process costs seconds to start
            ),
            run_config=ray.tune.RunConfig(
                storage_path=place,
                verbose=0,
                callbacks=[teller],
                failure_config=ray.tune.FailureConfig(max_failures=_RETRIES),
            ),
        )
        grid: Any = tuner.fit()  # Any: typed as if it could not be gone through
        ended = {each.config["number"]: each for each in grid}
    found = {number: _outcome(order, number, each) for number, each in ended.items()}
    every = found | teller.ended | dict(kept)
    return [every[number] for number in sorted(every)]


class _Teller(ray.tune.Callback):
    """Counts and keeps trials as they end; those of an earlier run are counted already."""

    def __init__(
        self,
        order: Order,
        reporter: Reporter,
        known: Mapping[int, Course],
        keep: Callable[[Outcome], None],
    ) -> None:
        self.ended: dict[int, Outcome] = {}
        self._order = order
        self._reporter = reporter
        self._known = known
        self._keep = keep
        self._courses: dict[int, list[dict[str, Any]]] = {}

    @override
    def on_trial_result(
        self,
        iteration: int,
        trials: list[TrialOfTune],
        trial: TrialOfTune,
        result: dict[str, Any],  # Any: what Tune passes
        **_: Any,
    ) -> None:
        self._reporter.beat()
        course = self._courses.setdefault(trial.config["number"], [])
        if course and result["images"] < course[-1]["images"]:
            course.clear()  # it was begun again
        if not course or result["images"] > course[-1]["images"]:
            course.append({"images": result["images"], "value": result["value"]})

    @override
    def on_trial_complete(
        self, iteration: int, trials: list[TrialOfTune], trial: TrialOfTune, **_: Any
    ) -> None:
        number = trial.config["number"]
        if number in self._known:
            return
        course = tuple(self._courses.get(number, ()))
        self.ended[number] = _ended(self._order, number, trial.last_result or {}, course)
        self._keep(self.ended[number])
        self._count(trial, failed=0)

    @override
    def on_trial_error(
        self, iteration: int, trials: list[TrialOfTune], trial: TrialOfTune, **_: Any
    ) -> None:
        self._count(trial, failed=1)

    def _count(self, trial: TrialOfTune, *, failed: int) -> None:
        inputs = (trial.last_result or {}).get("model_inputs", 0)
        self._reporter.add(done=1, failed=failed, model_inputs=inputs)


def _scheduler(order: Order) -> ASHAScheduler:
    """Stop trials that are behind; none is while all images are one slice."""
    return ASHAScheduler(
        time_attr="images",
        metric="value",
        mode="max",
        grace_period=order.slice_size,
        max_t=len(order.tasks),
        reduction_factor=_KEPT,
    )


@contextmanager
def _place(out: str) -> Iterator[str]:
    """Give Tune a place for its own notes, which all workers reach; nothing of ours is in it."""
    place = open_store(out).uri
    if is_s3(place):
        yield f"{place}/_ray"
        return
    with tempfile.TemporaryDirectory(prefix=_NOTES, dir=place) as folder:
        yield folder


def forget_notes(out: str) -> None:
    """Remove what runs that were killed have left of Tune's own notes; in buckets they stay."""
    place = open_store(out).uri
    if not is_s3(place):
        for left in Path(place).glob(f"{_NOTES}*"):
            shutil.rmtree(left, ignore_errors=True)  # another run may remove it, too


def _outcome(order: Order, number: int, ended: Any) -> Outcome:  # Any: Ray's result
    found = _ended(order, number, ended.metrics or {}, ())
    if not ended.error:
        return found
    return dataclasses.replace(found, status="failed", reason=_reason(ended.error))


def _ended(order: Order, number: int, metrics: Mapping[str, Any], course: Course) -> Outcome:
    found = {name: metrics[name] for name in _FOUND if name in metrics}
    return Outcome(
        number=number,
        status="done" if found.get("images") == len(order.tasks) else "stopped",
        parameters=order.draws[number],
        found=found,
        course=course,
    )


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", error)  # Ray wraps what a process has raised
    if isinstance(cause, XaiServeError):
        return str(cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
