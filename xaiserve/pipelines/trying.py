"""The trials of a sweep on Ray Tune, as many processes as fit, each with a trial at a time."""

import dataclasses
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import ray.tune
from ray.tune.experiment import Trial as TrialOfTune
from ray.tune.schedulers import ASHAScheduler
from typing_extensions import override

from xaiserve.errors import XaiServeError
from xaiserve.pipelines.cluster import Crew
from xaiserve.pipelines.progress import Reporter
from xaiserve.pipelines.space import Drawn
from xaiserve.pipelines.trial import Order, Standing, work
from xaiserve.storage.opening import is_s3, open_store

Status = Literal["done", "stopped", "failed", "invalid"]

_KEPT: Final = 3
"""A trial goes on when it is in the best third of those that have seen as many images."""

_RETRIES: Final = 1
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
    """

    number: int
    status: Status
    parameters: Drawn
    reason: str = ""
    found: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def value(self) -> float:
        """Mean of the objective."""
        return float(self.found["value"])

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        """Return number, status, parameters and what was found."""
        return {**self.columns(), "parameters": dict(self.parameters)}

    def columns(self) -> dict[str, Any]:  # Any: table cells
        """Return what its row holds beside the parameters."""
        return {"trial": self.number, "status": self.status, "reason": self.reason, **self.found}


def try_all(order: Order, crew: Crew, reporter: Reporter) -> list[Outcome]:
    """Run all trials on the connected Ray, and return them in their order."""
    resources = {"cpu": crew.threads} | ({"gpu": crew.gpus} if crew.gpus else {})
    with _place(order.sample.out) as place:
        tuner = ray.tune.Tuner(
            ray.tune.with_resources(ray.tune.with_parameters(work, order=order), resources),
            param_space={"number": ray.tune.grid_search(list(range(len(order.draws))))},
            tune_config=ray.tune.TuneConfig(
                scheduler=_scheduler(order),
                max_concurrent_trials=crew.workers,
                reuse_actors=True,  # a process costs seconds to start
            ),
            run_config=ray.tune.RunConfig(
                storage_path=place,
                verbose=0,
                callbacks=[_Teller(reporter)],
                failure_config=ray.tune.FailureConfig(max_failures=_RETRIES),
            ),
        )
        grid: Any = tuner.fit()  # Any: typed as if it could not be gone through
        ended = {each.config["number"]: each for each in grid}
    return [_outcome(order, number, ended[number]) for number in sorted(ended)]


class _Teller(ray.tune.Callback):
    """Counts trials as they end."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    @override
    def on_trial_result(self, *_: Any, **__: Any) -> None:  # Any: what Tune passes
        self._reporter.beat()

    @override
    def on_trial_complete(
        self, iteration: int, trials: list[TrialOfTune], trial: TrialOfTune, **_: Any
    ) -> None:
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
        yield f"{place}/ray"
        return
    with tempfile.TemporaryDirectory(prefix=".ray-", dir=place) as folder:
        yield folder


def _outcome(order: Order, number: int, ended: Any) -> Outcome:  # Any: Ray's result
    metrics: Mapping[str, Any] = ended.metrics or {}
    found = {name: metrics[name] for name in _FOUND if name in metrics}
    status: Status = "done" if found.get("images") == len(order.tasks) else "stopped"
    return Outcome(
        number=number,
        status="failed" if ended.error else status,
        parameters=order.draws[number],
        reason=_reason(ended.error) if ended.error else "",
        found=found,
    )


def _reason(error: Exception) -> str:
    cause = getattr(error, "cause", error)  # Ray wraps what a process has raised
    if isinstance(cause, XaiServeError):
        return str(cause)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
