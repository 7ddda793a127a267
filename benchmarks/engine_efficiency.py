"""``engine-efficiency``: rows scored per second inside searches over the bare model's best.

The floor is the model itself: one session run after another on prepared input, at the batch size
that is best in this process. Searches run eight at a time on one engine; their tail, when fewer
than eight are left, is included. Both sides use the same session and its threads.
"""

import time
from typing import Final

import torch

from benchmarks.common import (
    MOBILENET,
    Report,
    correct_cases,
    interleaved,
    need_data,
    report,
    spread,
)
from xaiserve.api import start
from xaiserve.explainers.multirex import MultiRex
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Limits

BAR: Final = 0.90
IN_FLIGHT: Final = 8
PAIRS: Final = 5
BATCHES: Final = (1, 2, 4, 8, 16, 32, 64)
THREADS: Final = 2

FULL: Final = MultiRex(chunk=50, spotlights=4, budget=5)
QUICK: Final = MultiRex(iterations=2, chunk=500, spotlights=2)
QUICK_INPUTS: Final = 96
"""Model inputs per image when quick: the searches are stopped there."""


def run(quick: bool) -> Report:
    """Measure five interleaved pairs; ``quick`` searches less far."""
    need_data()
    model = load_classifier(MOBILENET / "model.onnx", threads=THREADS)
    cases = correct_cases(model, IN_FLIGHT)
    explainer = QUICK if quick else FULL
    limits = Limits(max_inputs=QUICK_INPUTS if quick else None)
    batch, rates = _best_batch(model, seconds=0.4 if quick else 2.0)
    seconds = 1.5 if quick else 8.0
    inside, bare = interleaved(
        lambda: _search(model, explainer, limits, cases),
        lambda: _bare(model, batch, seconds),
        PAIRS,
    )
    ratios = [a / b for a, b in zip(inside, bare, strict=True)]
    value = spread(ratios)["median"]
    return report(
        value,
        f">= {BAR}",
        holds=value >= BAR,
        figures={
            "ratio": spread(ratios),
            "rows_per_s_inside": spread(inside),
            "rows_per_s_bare": spread(bare),
            "bare_batch": batch,
            "bare_rows_per_s_by_batch": rates,
            "engine_batch": model.batch_rows,
            "images_in_flight": IN_FLIGHT,
            "threads": THREADS,
        },
    )


def _bare(model: LoadedClassifier, batch: int, seconds: float) -> float:
    inputs = torch.rand(batch, 3, model.spec.height, model.spec.width)
    rows, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < seconds:
        model.runner.outputs(inputs)
        rows += batch
    return rows / (time.perf_counter() - begun)


def _best_batch(model: LoadedClassifier, seconds: float) -> tuple[int, dict[int, float]]:
    rates = {batch: round(_bare(model, batch, seconds), 1) for batch in BATCHES}
    return max(rates, key=lambda batch: rates[batch]), rates


def _search(
    model: LoadedClassifier, explainer: MultiRex, limits: Limits, cases: list[Case]
) -> float:
    with Engine(model) as engine:
        begun = time.perf_counter()
        tickets = [start(engine, explainer, case, limits=limits) for case in cases]
        for ticket in tickets:
            ticket.result()
        seconds = time.perf_counter() - begun
    return sum(ticket.cost.model_inputs for ticket in tickets) / seconds
