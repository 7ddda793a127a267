"""One trial of a sweep: explain the sample with some parameters, and say how well that went."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any, Final

import ray.tune
import torch

from xaiserve.contrasts.base import asker
from xaiserve.errors import ModelUnavailableError
from xaiserve.explainers.base import Explainer
from xaiserve.explainers.registry import make_explainer
from xaiserve.metrics.estimates import Estimate
from xaiserve.metrics.tally import Tally, Trial
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.rng import Keys
from xaiserve.pipelines.pointing import PointingFinisher
from xaiserve.pipelines.pointing_game import Config as Sample
from xaiserve.pipelines.space import Drawn
from xaiserve.pipelines.tasks import Task
from xaiserve.pipelines.work import Bench, Finished
from xaiserve.pipelines.worker import load_model, open_contrasts

OBJECTIVES: Final = ("pointing_game", "energy", "grid_pointing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a trial has found on the images so far.

    Parameters
    ----------
    images, scored, unexplained
        Those it has seen; those that a map can be scored on; of these, those without a map.
    value, low, high
        Mean of the objective over the scored images and its 95 % interval. An image without a
        value, for want of an explanation too, counts 0: leaving it out would reward parameters
        that fail where it is hard.
    """

    images: int
    scored: int
    unexplained: int
    value: float
    low: float | None
    high: float | None
    model_inputs: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """All that a process must know for its trials; it travels to each.

    Parameters
    ----------
    sample
        Images, model, method and settings that all trials share.
    tasks
        The images in the order in which every trial takes them.
    slice_size
        Images between two reports.
    draws
        The parameters of each trial.
    """

    sample: Sample
    model_digest: str
    objective: str
    tasks: tuple[Task, ...]
    slice_size: int
    draws: tuple[Drawn, ...]
    threads: int


def drawn_explainer(sample: Sample, drawn: Drawn) -> Explainer:
    """Make the method with the sample's settings and what was drawn.

    Raises
    ------
    InvalidInputError
        The values do not go together.
    """
    (method,) = sample.methods
    return make_explainer(method, {**sample.options.get(method, {}), **drawn})


Course = tuple[Mapping[str, Any], ...]
"""The images and the value of each report of a trial; all that a scheduler looks at."""


def work(
    settings: Mapping[str, Any],  # Any: what Tune passes
    *,
    order: Order,
    courses: Mapping[int, Course],
) -> None:
    """Run one trial as Ray Tune calls it.

    One that an earlier run of the sweep has ended reports its course again, and explains nothing:
    so the scheduler compares the others with it.
    """
    number = settings["number"]
    if number in courses:
        for point in courses[number]:
            ray.tune.report(dict(point))
        return
    torch.set_num_threads(order.threads)
    bench = _bench(order, drawn_explainer(order.sample, order.draws[number]))
    for standing in standings(bench, order.tasks, order.slice_size, order.objective):
        ray.tune.report(dataclasses.asdict(standing))


def standings(
    bench: Bench, tasks: Sequence[Task], slice_size: int, objective: str
) -> Iterator[Standing]:
    """Explain the images slice by slice, and say after each how the trial stands."""
    started, found = monotonic(), list[Finished]()
    for start in range(0, len(tasks), slice_size):
        found += bench.explain(tasks[start : start + slice_size])
        yield _standing(found, objective, bench.seed, monotonic() - started)


def _standing(found: Sequence[Finished], objective: str, seed: int, seconds: float) -> Standing:
    trials = [trial for each in found if (trial := _trial(each, objective)) is not None]
    tally, keys = Tally(tuple(trials)), Keys.root(seed, "tune")
    hits = objective == "pointing_game"
    mean = (tally.hit_rate(keys) if hits else tally.micro(keys)) or Estimate(0.0)
    return Standing(
        images=len(found),
        scored=len(trials),
        unexplained=sum(trial.reason == "query_failed" for trial in trials),
        value=mean.value,
        low=mean.low,
        high=mean.high,
        model_inputs=sum(each.row.model_inputs for each in found),
        seconds=seconds,
    )


def _trial(each: Finished, objective: str) -> Trial | None:
    """Score an image; None where no map can be scored: it is no picture, or has no region left."""
    row, result = each.row, each.result
    if row.status == "invalid_image":
        return None
    label = row.target_label or ""
    if result is None:
        return Trial(row.row_id, label, 0.0, "query_failed")
    if getattr(result, f"{objective}_chance") is None:
        return None
    value = getattr(result, objective)
    return Trial(row.row_id, label, 0.0 if value is None else value)


def _bench(order: Order, explainer: Explainer) -> Bench:
    sample = order.sample
    model = load_model(sample, threads=order.threads)
    if model.digest != order.model_digest:
        raise ModelUnavailableError(
            f"model {sample.model} in {sample.model_source} differs between machines: digest "
            f"{model.digest[:12]} here, {order.model_digest[:12]} where the sweep started"
        )
    engine = Engine(model)
    return Bench(
        explainer,
        engine,
        PointingFinisher(sample.tolerance_px),
        sample.seed,
        sample.max_inputs,
        contrasts=open_contrasts(sample, model.spec, asker(engine)),
        drawing=Lock(),
    )
