"""``engine-efficiency-16``: rows scored per second inside searches over the bare model's best.

The floor is the model itself on prepared input, in its best way (`bare`). Searches run sixteen at a
time on one engine; their tail, when fewer are left, is included. All use the same file and number
of threads.

Beside the ratio of rates stands the ratio of CPU seconds per row, bare over inside: on a machine
that others use it moves less, and it tells computing beside the model from waiting.
"""

from typing import Final

from benchmarks.bare import Clock, Speed, best_way
from benchmarks.common import (
    MOBILENET,
    Report,
    correct_cases,
    need_data,
    report,
    spread,
)
from xaiserve.api import start
from xaiserve.explainers.base import Explainer
from xaiserve.explainers.multirex import MultiRex
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Limits

BAR: Final = 0.95
IN_FLIGHT: Final = 16
PAIRS: Final = 5
THREADS: Final = 2

FULL: Final = MultiRex()
QUICK: Final = MultiRex(iterations=2, pool=False, pairs=False, exclude=False, prune=False)
"""Asks fewer rows at once, so that few inputs are many rounds."""

FULL_INPUTS: Final = 600
QUICK_INPUTS: Final = 64
"""Model inputs per image; the searches are stopped there."""


def run(quick: bool) -> Report:
    """Measure five interleaved pairs; ``quick`` searches less far."""
    need_data()
    model = load_classifier(MOBILENET / "model.onnx", threads=THREADS)
    cases = correct_cases(model, IN_FLIGHT)
    limits = Limits(max_inputs=QUICK_INPUTS if quick else FULL_INPUTS)
    return compare(model, QUICK if quick else FULL, limits, cases, bar=BAR, quick=quick)


def compare(
    model: LoadedClassifier,
    explainer: Explainer,
    limits: Limits,
    cases: list[Case],
    *,
    bar: float,
    quick: bool,
) -> Report:
    """Measure searches on all ``cases`` at once against the bare model, in interleaved pairs."""
    best, rates = best_way(MOBILENET / "model.onnx", THREADS, seconds=0.3 if quick else 1.5)
    seconds = 1.5 if quick else 8.0
    pairs = [(_search(model, explainer, limits, cases), best.speed(seconds)) for _ in range(PAIRS)]
    ratio = spread([inside.wall / bare.wall for inside, bare in pairs])
    value = ratio["median"]
    return report(
        value,
        f">= {bar}",
        holds=value >= bar,
        figures={
            "ratio": ratio,
            "cpu_ratio": spread([inside.cpu / bare.cpu for inside, bare in pairs]),
            "rows_per_s_inside": spread([inside.wall for inside, _ in pairs]),
            "rows_per_s_bare": spread([bare.wall for _, bare in pairs]),
            "bare": best.name,
            "bare_rows_per_s": rates,
            "engine_batch": model.batch_rows,
            "images_in_flight": len(cases),
            "threads": THREADS,
        },
    )


def _search(
    model: LoadedClassifier, explainer: Explainer, limits: Limits, cases: list[Case]
) -> Speed:
    with Engine(model) as engine:
        clock = Clock()
        tickets = [start(engine, explainer, case, limits=limits) for case in cases]
        for ticket in tickets:
            ticket.result()
        return clock.speed(sum(ticket.cost.model_inputs for ticket in tickets))
