"""``engine-efficiency-clear``: as ``engine-efficiency-16``, with CLEAR explanations in flight.

Photographs that MobileNetV2 gets right, with themselves blurred as contrast. Explanations run to
their end, their cuts and regressions included.
"""

from dataclasses import replace
from typing import Final

from benchmarks.common import MOBILENET, Report, correct_cases, need_data
from benchmarks.engine_efficiency import IN_FLIGHT, THREADS, compare
from xaiserve.explainers.clear_image import ClearImage
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case, Contrast
from xaiserve.perturb.fills import smoothed
from xaiserve.perturb.segment import grid_labels
from xaiserve.perturb.ticket import Limits

BAR: Final = 0.9
SIGMA_PX: Final = 10.0

FULL: Final = ClearImage(depth=2)
QUICK: Final = ClearImage(segmenter="supplied", depth=1, samples=50, max_sufficient_causes=1)
"""Asks about some 70 masks per picture, a tenth, so that five pairs end in time. Cut by a grid: a
cut by difference, which takes about as long as 7 of these masks, would weigh ten times too much."""

CELLS: Final = 3


def run(quick: bool) -> Report:
    """Measure five interleaved pairs."""
    need_data()
    model = load_classifier(MOBILENET / "model.onnx", threads=THREADS)
    cases = [_with_contrast(case) for case in correct_cases(model, IN_FLIGHT)]
    return compare(model, QUICK if quick else FULL, Limits(), cases, bar=BAR, quick=quick)


def _with_contrast(case: Case) -> Case:
    contrast = smoothed(case.image, SIGMA_PX).clamp(0, 1)
    labels = grid_labels(case.height, case.width, CELLS)
    return replace(case, contrast=Contrast(image=contrast, provider="blur"), labels=labels)
