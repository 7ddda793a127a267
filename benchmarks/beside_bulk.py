"""``beside-bulk``: an explain and predicts beside a bulk job of 500 images on the same engine.

Interactive rows go first, and bulk batches are capped at 16 rows while there are any, so that what
an interactive request can lose is one such batch per round. Measured alone and beside the job in
turn: an explain; predicts one after the other; predicts while the explain runs, too. The job is
cancelled in between, and starts anew.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from statistics import median, quantiles
from typing import Final

import torch

from benchmarks.common import MOBILENET, Report, correct_cases, need_data, report, spread
from xaiserve.api import scores_plan, start
from xaiserve.explainers.multirex import MultiRex
from xaiserve.models.classifier import Classifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb._batching import BULK_ROWS_BESIDE_INTERACTIVE as CAP
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Cost

EXPLAIN_BAR: Final = 2.0
IMAGES: Final = 500
CASES: Final = 8
THREADS: Final = 2
FULL: Final = MultiRex()
QUICK: Final = MultiRex(iterations=2, pool=False, pairs=False, exclude=False, prune=False)


def run(quick: bool) -> Report:
    """Measure explains and predicts in pairs; ``quick`` fewer, and a shorter search."""
    need_data()
    model = load_classifier(MOBILENET / "model.onnx", threads=THREADS)
    cases = correct_cases(model, CASES)
    pairs, predicts = (2, 10) if quick else (3, 30)
    explainer = QUICK if quick else FULL
    explains: dict[str, list[float]] = {"alone": [], "beside": []}
    waits: dict[str, list[float]] = {"alone": [], "beside": [], "beside_both": []}
    with Engine(model) as engine:
        batch_s = _batch_seconds(model)
        inputs = _explain(engine, explainer, cases[0]).model_inputs
        for _ in range(pairs):
            explains["alone"].append(_explain(engine, explainer, cases[0]).wall_seconds)
            waits["alone"] += _predicts(engine, cases[0], predicts // pairs)
            with _bulk(engine, cases):
                waits["beside"] += _predicts(engine, cases[0], predicts // pairs)
                explains["beside"].append(
                    _explain(
                        engine,
                        explainer,
                        cases[0],
                        meanwhile=lambda: waits["beside_both"].extend(
                            _predicts(engine, cases[0], predicts // pairs)
                        ),
                    ).wall_seconds
                )
    ratio = median(explains["beside"]) / median(explains["alone"])
    lost = {name: median(waits[name]) - median(waits["alone"]) for name in waits}
    holds = ratio <= EXPLAIN_BAR and max(lost.values()) <= batch_s
    return report(
        round(ratio, 2),
        f"explain <= {EXPLAIN_BAR} x alone; predict <= alone + one batch of {CAP}",
        holds=holds,
        figures={
            "explain_s": {name: spread(values) for name, values in explains.items()},
            "predict_s": {name: spread(values) for name, values in waits.items()},
            "predict_p90_s": {
                name: round(quantiles(values, n=10)[-1], 4) for name, values in waits.items()
            },
            f"batch_of_{CAP}_s": round(batch_s, 4),
            "explain_model_inputs": inputs,
            "images_of_the_job": IMAGES,
            "rows_per_batch": model.batch_rows,
            "lanes": model.streams,
            "threads": THREADS,
        },
    )


def _batch_seconds(model: Classifier) -> float:
    inputs = torch.rand(CAP, model.spec.channels, model.spec.height, model.spec.width)
    seconds = []
    for _ in range(9):
        begun = time.perf_counter()
        model.score_inputs(inputs)
        seconds.append(time.perf_counter() - begun)
    return median(seconds)


def _explain(
    engine: Engine,
    explainer: MultiRex,
    case: Case,
    meanwhile: Callable[[], object] = lambda: None,
) -> Cost:
    ticket = start(engine, explainer, case, interactive=True)
    meanwhile()
    ticket.result()
    return ticket.cost


def _predicts(engine: Engine, case: Case, count: int) -> list[float]:
    seconds = []
    for _ in range(count):
        ticket = engine.submit(scores_plan(case.image), interactive=True)
        ticket.result()
        seconds.append(ticket.cost.wall_seconds)
    return seconds


@contextmanager
def _bulk(engine: Engine, cases: list[Case]) -> Iterator[None]:
    """Keep a job of many images on the engine, from when its first rows have been scored."""
    tickets = [
        start(engine, FULL, replace(cases[number % len(cases)], name=f"bulk {number}"))
        for number in range(IMAGES)
    ]
    while not any(ticket.cost.model_inputs for ticket in tickets):
        time.sleep(0.01)
    try:
        yield
    finally:
        for ticket in tickets:
            ticket.cancel()
        for ticket in tickets:
            ticket.future.exception()
