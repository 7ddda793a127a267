"""The ``tune`` sweep: trials of one method's parameters on a labelled sample, by Ray Tune.

Every trial takes the images in one order, drawn by the seed, so that trials that are compared
early are compared on the same images. The first trial is where the sweep starts from: the method
as it is set without anything drawn.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from xaiserve.dispatch.owning import Ownership, owned
from xaiserve.errors import ConflictError, InvalidInputError, JobStoppedError, XaiServeError
from xaiserve.explainers.preset_file import PresetFile
from xaiserve.perturb.rng import Keys
from xaiserve.pipelines.cluster import Placement, free_crew, ray_for
from xaiserve.pipelines.dataset import Job
from xaiserve.pipelines.pointing_game import plan as plan_sample
from xaiserve.pipelines.progress import Progress, Reporter
from xaiserve.pipelines.space import Drawn, draw
from xaiserve.pipelines.sweep import BEST, Config, Summary
from xaiserve.pipelines.tasks import describe
from xaiserve.pipelines.trial import Order, drawn_explainer
from xaiserve.pipelines.trying import Outcome, forget_notes, try_all
from xaiserve.storage.objects import ObjectStore, exists
from xaiserve.storage.opening import open_store
from xaiserve.storage.results import begin
from xaiserve.storage.trials import TRIALS, read_trials, write_trials

SWEEP: Final = "_sweep.json"
"""What an output is of: written once, before all else."""

_SLICES: Final = 9
_LEAST: Final = 8
"""A slice is a ninth of the images, and at least so many."""

_ENOUGH: Final = 2
"""Trials that a sweep needs: where it starts from, and one more."""


def run(
    config: Config, placement: Placement, tell: Callable[[Progress], None] = lambda _: None
) -> Summary:
    """Try all parameters; ``best.json`` is written at the end.

    Whenever a trial has ended ``trials.parquet`` is written, so that the same configuration goes on
    after any crash: trials that have ended are not run again, others start anew. Equal
    configurations draw equal parameters and find equal values; which trials are stopped early
    depends on which are ahead at the time.

    Raises
    ------
    ConflictError
        The output holds another sweep, or another process works on it.
    InvalidInputError
        Images, model, a setting or an option is wrong.
    JobStoppedError
        No trial has come to its end.
    StoreUnavailableError
        The output cannot be written.
    """
    store = open_store(config.sample.out)
    if exists(store, BEST) and not exists(store, SWEEP):
        raise ConflictError(f"{store.uri} already holds a sweep; name another output")
    job = plan_sample(config.sample)
    order, invalid = prepare(config, job)
    begin(store, SWEEP, _deciding(config, job, order, invalid))

    def wait(reason: str) -> None:
        tell(Progress(state="waiting", total=len(order.draws), unit="trials", reason=reason))

    with owned(store, wait) as ownership:
        return _owned_run(config, placement, (job, order, invalid), ownership, tell)


def _owned_run(
    config: Config,
    placement: Placement,
    prepared: tuple[Job, Order, list[Outcome]],
    ownership: Ownership,
    tell: Callable[[Progress], None],
) -> Summary:
    store, (job, order, invalid) = open_store(config.sample.out), prepared
    kept = _kept(store, order)
    reporter = Reporter(store, total=len(order.draws), resumed=len(kept), tell=tell, unit="trials")
    reporter.start()
    try:
        tried = _tried(config, placement, order, kept, reporter)
        ownership.check()
        summary = _publish(store, config, job, [*tried, *invalid])
        forget_notes(config.sample.out)
    except BaseException as error:
        if not ownership.lost:  # else another driver tells
            with suppress(XaiServeError):  # the first error says why; a lost store refuses, too
                reporter.enter("failed", str(error))
        raise
    reporter.enter("done")
    return summary


def _deciding(config: Config, job: Job, order: Order, invalid: Sequence[Outcome]) -> dict[str, Any]:
    """Return what decides the trials and the best of them, as JSON values."""
    draws = [*order.draws, *(each.parameters for each in invalid)]
    return {
        **job.settings,
        "space": [dict(each) for each in draws],
        "objective": config.objective,
        "samples": config.samples,
        "scheduler": config.scheduler,
        "within": config.within,
    }


def _kept(store: ObjectStore, order: Order) -> dict[int, Outcome]:
    """Read the trials that an earlier run has ended; those that failed are tried again."""
    rows = [row for row in read_trials(store) if row["trial"] < len(order.draws)]
    found = [Outcome.of_row(row, order.draws[row["trial"]]) for row in rows]
    return {each.number: each for each in found if each.ended}


def _tried(
    config: Config,
    placement: Placement,
    order: Order,
    kept: Mapping[int, Outcome],
    reporter: Reporter,
) -> list[Outcome]:
    """Run what is not kept, and write down each trial as it ends."""
    if len(kept) == len(order.draws):
        return [kept[number] for number in sorted(kept)]
    store, ended = open_store(config.sample.out), dict(kept)

    def keep(outcome: Outcome) -> None:
        ended[outcome.number] = outcome
        _write(store, config, [ended[number] for number in sorted(ended)])

    with ray_for(placement):
        crew = free_crew(placement)
        order = dataclasses.replace(order, threads=crew.threads)
        return try_all(order, crew, reporter, kept, keep)


def prepare(config: Config, job: Job) -> tuple[Order, list[Outcome]]:
    """Draw the trials and order the images; trials whose values do not go together come apart.

    Raises
    ------
    InvalidInputError
        No trial is left beside the first.
    """
    keys = Keys.root(config.sample.seed, "tune")
    draws: list[Drawn] = [_start(config)]
    refused: list[tuple[Drawn, str]] = []
    for drawn in draw(config.space, config.samples, keys.child("space")):
        try:
            drawn_explainer(config.sample, drawn)
        except InvalidInputError as error:
            refused.append((drawn, str(error)))
        else:
            draws += [drawn] if drawn != draws[0] else []
    if len(draws) < _ENOUGH:
        reason = refused[0][1] if refused else "it holds only what the method is set to"
        raise InvalidInputError(f"space leaves nothing to try: {reason}")
    tasks = list(job.tasks(config.method))
    order = Order(
        sample=config.sample,
        model_digest=job.model_digest,
        objective=config.objective,
        tasks=tuple(tasks[at] for at in keys.child("images").generator().permutation(len(tasks))),
        slice_size=_slice_size(config, len(tasks)),
        draws=tuple(draws),
        threads=1,
    )
    return order, [
        Outcome(number=len(draws) + at, status="invalid", parameters=drawn, reason=reason)
        for at, (drawn, reason) in enumerate(refused)
    ]


def _start(config: Config) -> Drawn:
    """Return what the method has for the parameters of the space when nothing is drawn."""
    parameters = describe(drawn_explainer(config.sample, {}))["parameters"]
    return {name: parameters[name] for name in config.space}


def _slice_size(config: Config, images: int) -> int:
    if config.scheduler == "none":
        return images
    return min(images, max(_LEAST, math.ceil(images / _SLICES)))


def choose(outcomes: Sequence[Outcome], within: float) -> Outcome:
    """Choose the cheapest trial whose value is at most ``within`` below the highest.

    Among equally cheap ones the higher value, then the earlier trial counts.

    Raises
    ------
    JobStoppedError
        No trial has seen all images and scored one.
    """
    done = [each for each in outcomes if each.status == "done" and each.found["scored"]]
    if not done:
        reason = next((each.reason for each in outcomes if each.reason), "no image can be scored")
        raise JobStoppedError(
            f"none of {len(outcomes)} trials has come to its end: {reason}; {TRIALS} has them all"
        )
    floor = max(each.value for each in done) - within
    near = [each for each in done if each.value >= floor]
    return min(near, key=lambda each: (each.found["model_inputs"], -each.value, each.number))


def _write(store: ObjectStore, config: Config, outcomes: Sequence[Outcome]) -> None:
    method = describe(drawn_explainer(config.sample, {}))
    shared = {
        "objective": config.objective,
        "method": config.method,
        "method_version": method["version"],
    }
    write_trials(store, [(shared | each.columns(), each.parameters) for each in outcomes])


def _publish(store: ObjectStore, config: Config, job: Job, outcomes: Sequence[Outcome]) -> Summary:
    _write(store, config, outcomes)
    best = choose(outcomes, config.within)
    chosen = describe(drawn_explainer(config.sample, best.parameters))
    fields = ("value", "low", "high", "images", "model_inputs")
    preset = PresetFile(
        method=config.method,
        version=chosen["version"],
        parameters=chosen["parameters"],
        objective=config.objective,
        sample=job.known.digest,
        model=job.model_digest,
        seed=config.sample.seed,
        **{name: best.found[name] for name in fields},
    )
    store.write(BEST, preset.to_json())
    return Summary(out=store.uri, objective=config.objective, outcomes=tuple(outcomes), best=best)
