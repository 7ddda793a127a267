"""``fan-out``: one hard image on 1, 2 and 4 Ray workers, whose classifier takes 20 ms per batch.

The classifier looks for two patches, and sleeps, so that workers beyond the number of cores cost no
more than those within it; what is measured is what spreading a search costs, not the cores. The
result must be the same, bit for bit, on any number of workers, and in this process.

Hard is a search of three times the default's iterations. However many workers there are, a round of
few rows takes one batch: figures are given for the default search, too, of which half the rounds
are such.
"""

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median
from typing import Any, Final

import ray

from benchmarks.common import Report, report, spread
from xaiserve.api import start
from xaiserve.dispatch.workers import Workers
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.multirex import MultiRex
from xaiserve.perturb.engine import Engine
from xaiserve.storage.records import to_rows
from xaiserve.testing.toys import ToyClassifier, any_classifier, toy_case, toy_image
from xaiserve.types import Images, Scores

BAR: Final = 1.7
BATCH_S: Final = 0.02
BATCH_ROWS: Final = 16
WORKERS: Final = (1, 2, 4)
REPEATS: Final = 5

HARD: Final = MultiRex(iterations=60)
DEFAULT: Final = MultiRex()

IMAGE: Final = toy_image(64)
PATCHES: Final = ((4, 16, 4, 16), (40, 56, 36, 50))


def slow_classifier(batch_s: float = BATCH_S) -> ToyClassifier:
    """Decide by two patches, after ``batch_s`` seconds of sleep."""
    quick = any_classifier(IMAGE, PATCHES)

    def function(images: Images) -> Scores:
        time.sleep(batch_s)
        return quick.scores(images)

    return ToyClassifier(quick.name, quick.spec, function, batch_rows=BATCH_ROWS)


def run(quick: bool) -> Report:
    """Explain one image per number of workers and repeat; ``quick`` once, on 1 and 2."""
    ray.init(
        address="local",
        num_cpus=sum(WORKERS),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=300 << 20,
    )
    try:
        with ExitStack() as entered:
            crews = {
                count: entered.enter_context(Workers(slow_classifier, count, rows=BATCH_ROWS))
                for count in (WORKERS[:2] if quick else WORKERS)
            }
            hard, same = _measured(HARD, crews, 1 if quick else REPEATS)
            figures = {"hard": hard}
            if not quick:
                figures["default"], also_same = _measured(DEFAULT, crews, REPEATS)
                same = same and also_same
    finally:
        ray.shutdown()
    value = hard["speed_up"][2]
    return report(
        value,
        f">= {BAR} on 2 workers, identical result",
        holds=value >= BAR and same,
        figures=figures
        | {"identical": same, "rows_per_batch": BATCH_ROWS, "seconds_per_batch": BATCH_S},
    )


def _measured(
    explainer: MultiRex, crews: Mapping[int, Workers], repeats: int
) -> tuple[dict[str, Any], bool]:  # Any: figures
    """Measure every crew in turn; say also whether all results are the one of this process."""
    here, _, inputs = _explained(explainer, None)
    seconds: dict[int, list[float]] = {count: [] for count in crews}
    same = True
    for repeat in range(repeats + 1):
        for count, workers in crews.items():
            found, wall_s, spent = _explained(explainer, workers)
            same = same and spent == inputs and to_rows([found]) == to_rows([here])
            # The first one finds workers that have computed nothing yet.
            if repeat:
                seconds[count].append(wall_s)
    one = median(seconds[1])
    return {
        "speed_up": {count: round(one / median(seconds[count]), 2) for count in crews},
        "seconds": {count: spread(seconds[count]) for count in crews},
        "model_inputs": inputs,
    }, same


def _explained(explainer: MultiRex, workers: Workers | None) -> tuple[Explanation, float, int]:
    classifier = slow_classifier(BATCH_S if workers else 0.0)
    case = toy_case(classifier, IMAGE)
    with Engine(classifier, lanes=workers.lanes if workers else ()) as engine:
        begun = time.perf_counter()
        ticket = start(engine, explainer, case)
        explanation = ticket.result()
        return explanation, time.perf_counter() - begun, ticket.cost.model_inputs
