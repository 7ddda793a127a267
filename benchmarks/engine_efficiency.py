"""``engine-efficiency-16``: rows scored per second inside searches over the bare model's best.

The floor is the model itself: one call after another on prepared input, at the batch size that is
best in this process. Searches run sixteen at a time on one engine; their tail, when fewer are left,
is included. Both sides use the same model and its threads.

Beside the ratio of rates stands the ratio of CPU seconds per row, bare over inside: on a machine
that others use it moves less, and it tells computing beside the model from waiting.
"""

import time
from typing import Final, NamedTuple

import torch

from benchmarks.common import (
    MOBILENET,
    Report,
    correct_cases,
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

BAR: Final = 0.95
IN_FLIGHT: Final = 16
PAIRS: Final = 5
BATCHES: Final = (1, 2, 4, 8, 16, 32)
THREADS: Final = 2

FULL: Final = MultiRex()
QUICK: Final = MultiRex(iterations=2, pool=False, pairs=False, exclude=False, prune=False)
"""Asks fewer rows at once, so that few inputs are many rounds."""

FULL_INPUTS: Final = 600
QUICK_INPUTS: Final = 64
"""Model inputs per image; the searches are stopped there."""


class Speed(NamedTuple):
    """Rows per second, and per second of this process's CPU time."""

    wall: float
    cpu: float


class _Clock:
    """Turns rows into speeds, from when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._wall

    def speed(self, rows: int) -> Speed:
        return Speed(rows / self.seconds, rows / (time.process_time() - self._cpu))


def run(quick: bool) -> Report:
    """Measure five interleaved pairs; ``quick`` searches less far."""
    need_data()
    model = load_classifier(MOBILENET / "model.onnx", threads=THREADS)
    cases = correct_cases(model, IN_FLIGHT)
    explainer = QUICK if quick else FULL
    limits = Limits(max_inputs=QUICK_INPUTS if quick else FULL_INPUTS)
    batch, rates = _best_batch(model, seconds=0.4 if quick else 2.0)
    seconds = 1.5 if quick else 8.0
    pairs = [
        (_search(model, explainer, limits, cases), _bare(model, batch, seconds))
        for _ in range(PAIRS)
    ]
    ratio = spread([inside.wall / bare.wall for inside, bare in pairs])
    value = ratio["median"]
    return report(
        value,
        f">= {BAR}",
        holds=value >= BAR,
        figures={
            "ratio": ratio,
            "cpu_ratio": spread([inside.cpu / bare.cpu for inside, bare in pairs]),
            "rows_per_s_inside": spread([inside.wall for inside, _ in pairs]),
            "rows_per_s_bare": spread([bare.wall for _, bare in pairs]),
            "bare_batch": batch,
            "bare_rows_per_s_by_batch": rates,
            "engine_batch": model.batch_rows,
            "images_in_flight": IN_FLIGHT,
            "threads": THREADS,
        },
    )


def _bare(model: LoadedClassifier, batch: int, seconds: float) -> Speed:
    inputs = torch.rand(batch, 3, model.spec.height, model.spec.width)
    rows, clock = 0, _Clock()
    while clock.seconds < seconds:
        model.runner.outputs(inputs)
        rows += batch
    return clock.speed(rows)


def _best_batch(model: LoadedClassifier, seconds: float) -> tuple[int, dict[int, float]]:
    rates = {batch: round(_bare(model, batch, seconds).wall, 1) for batch in BATCHES}
    return max(rates, key=lambda batch: rates[batch]), rates


def _search(
    model: LoadedClassifier, explainer: MultiRex, limits: Limits, cases: list[Case]
) -> Speed:
    with Engine(model) as engine:
        clock = _Clock()
        tickets = [start(engine, explainer, case, limits=limits) for case in cases]
        for ticket in tickets:
            ticket.result()
        return clock.speed(sum(ticket.cost.model_inputs for ticket in tickets))
