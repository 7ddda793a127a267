"""``clear-cost``: what CLEAR Image costs in the model, and besides.

On the oracle's synthetic pictures, the masks that the method scores (random ones, the grid, what is
sufficient) over the model inputs used. At 15 segments, the time of one fit and its distance from
statsmodels. On chest X-rays that are cut into about 15 segments, CPU time on one thread of the cut,
and of all that follows the last answer: regression, sufficient causes, report.
"""

import csv
import time
from collections.abc import Iterator
from statistics import mean, median
from typing import Final, NamedTuple

import numpy as np
import statsmodels.api as sm
import torch
from PIL import Image as Pictures
from scipy.special import expit

from benchmarks.clear_oracle import CLEAR, SLOPE
from benchmarks.common import DATA, Report, need_data, report, spread
from xaiserve.explainers.clear_image import ClearImage
from xaiserve.explainers.clear_image.logit import Design, Vector, fit_logistic
from xaiserve.explainers.clear_image.masks import random_masks
from xaiserve.explainers.clear_image.segmentation import cut
from xaiserve.models.classifier import Classifier
from xaiserve.perturb.case import Case, Contrast
from xaiserve.perturb.compose import Composer
from xaiserve.perturb.drive import answer
from xaiserve.perturb.plan import Done, Event, step
from xaiserve.perturb.rng import Keys
from xaiserve.testing.clear_oracles import AND, diseased_samples, oracle, oracle_case
from xaiserve.testing.toys import EVIDENCE, ToyClassifier, toy_case, toy_spec
from xaiserve.types import Image, Images, Scores

FIT_BAR_MS: Final = 2.0
DISTANCE_BAR: Final = 1e-6
REPORT_BAR_MS: Final = 60.0
CUT_BAR_MS: Final = 50.0
SEGMENTS: Final = 15
ABOUT: Final = range(13, 18)
"""Segments of a picture that counts as cut into about 15."""

FULL_IMAGES: Final = 100
QUICK_IMAGES: Final = 20
FULL_XRAYS: Final = 20
QUICK_XRAYS: Final = 5
REPEATS: Final = 30


class _Times(NamedTuple):
    """CPU milliseconds of one explanation, without the model."""

    cut: float
    end: float
    plan: float


def run(quick: bool) -> Report:
    """Measure all four; ``value`` is the factor of inputs saved."""
    need_data()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        issued, used = _inputs(QUICK_IMAGES if quick else FULL_IMAGES)
        fit_ms, distance = _fit()
        cases = _xrays(QUICK_XRAYS if quick else FULL_XRAYS)
        times = [_timed(case, contrast) for case, contrast in cases]
    finally:
        torch.set_num_threads(threads)
    cut_ms, end_ms = (median(getattr(each, part) for each in times) for part in ("cut", "end"))
    bars = {
        "fit_ms": (fit_ms, FIT_BAR_MS),
        "distance_to_statsmodels": (distance, DISTANCE_BAR),
        "regression_and_report_ms": (end_ms, REPORT_BAR_MS),
        "segmentation_ms": (cut_ms, CUT_BAR_MS),
    }
    return report(
        round(issued / used, 1),
        {name: f"<= {bar}" for name, (_, bar) in bars.items()},
        holds=all(found <= bar for found, bar in bars.values()),
        figures={
            "masks_of_the_method": round(issued, 1),
            "model_inputs": round(used, 1),
            "fit_ms": round(fit_ms, 3),
            "distance_to_statsmodels": distance,
            "regression_and_report_ms": spread([each.end for each in times]),
            "segmentation_ms": spread([each.cut for each in times]),
            "all_but_the_model_ms": spread([each.plan for each in times]),
            "xrays": len(times),
        },
    )


def _inputs(count: int) -> tuple[float, float]:
    """Return the masks that the method scores, and the model inputs, per picture."""
    issued: list[int] = []
    used: list[int] = []
    for sample in diseased_samples(count):
        model = oracle(sample, AND, SLOPE)
        issued.append(_driven(CLEAR, oracle_case(sample), model)[1])
        used.append(model.rows)
    return mean(issued), mean(used)


def _fit() -> tuple[float, float]:
    """Time a cold fit at 15 segments, and compare its coefficients."""
    masks = random_masks(1000, SEGMENTS, 4, Keys.root(0, "fit"))
    masks, counts = np.unique(masks, axis=0, return_counts=True)
    draws = Keys.root(0, "weights").generator()
    true = draws.normal(0, 2, SEGMENTS)
    z = masks @ true - true.sum() + 1.5 + draws.normal(0, 0.5, len(masks))
    x: Design = np.column_stack([np.ones(len(masks)), masks])
    p: Vector = np.asarray(expit(z))
    weights: Vector = counts.astype(np.float64)
    started = time.process_time()
    fits = [fit_logistic(x, p, weights) for _ in range(REPEATS)]
    spent = (time.process_time() - started) / REPEATS
    family = sm.families.Binomial()
    theirs = sm.GLM(p, x, family=family, freq_weights=weights).fit(tol=1e-12)
    ours = fits[0]
    if ours is None:
        raise RuntimeError("the fit failed")
    return spent * 1e3, float(np.abs(ours.coefficients - theirs.params).max())


def _xrays(count: int) -> Iterator[tuple[Case, ToyClassifier]]:
    """Yield pneumonias with the nearest normal X-ray as contrast, cut into about 15 segments."""
    folder = DATA / "pneumonia_cxr"
    with (folder / "labels.csv").open() as rows:
        listed = list(csv.DictReader(rows))

    def pictures(label: str) -> Images:
        paths = [folder / row["image"] for row in listed if row["label"] == label]
        read = [np.asarray(Pictures.open(path).convert("L")) for path in paths]
        return torch.from_numpy(np.stack(read)).float().div(255).unsqueeze(1)

    normals, found = pictures("NORMAL"), 0
    for image in pictures("PNEUMONIA"):
        contrast = normals[(normals - image).square().flatten(1).sum(dim=1).argmin()]
        model = _additive(image, contrast)
        case = _case(model, image, contrast)
        if cut(case, contrast, ClearImage(), Keys.root(0, "")).count in ABOUT:
            yield case, model
            found += 1
        if found == count:
            return


def _case(model: ToyClassifier, image: Image, contrast: Image) -> Case:
    case = toy_case(model, image)
    return Case(
        image_id=case.image_id,
        image=image,
        target=EVIDENCE,
        neutral=case.neutral,
        unit=case.unit,
        contrast=Contrast(image=contrast, provider="nearest"),
    )


def _additive(image: Image, contrast: Image) -> ToyClassifier:
    """Judge by how much of the difference to the contrast is shown; needs no time to speak of."""
    difference = image - contrast
    length = difference.square().sum()

    def function(images: Images) -> Scores:
        shown = ((images - contrast) * difference).flatten(1).sum(dim=1) / length
        own = torch.sigmoid(8 * (shown - 0.6))
        return torch.stack([1 - own, own], dim=1)

    return ToyClassifier("additive", toy_spec(image), function)


def _timed(case: Case, model: Classifier) -> _Times:
    started = time.process_time()
    if case.contrast is not None:
        cut(case, case.contrast.image, ClearImage(), Keys.root(0, ""))
    spent = time.process_time() - started
    steps, _ = _driven(ClearImage(), case, model)
    return _Times(spent * 1e3, steps[-1] * 1e3, sum(steps) * 1e3)


def _driven(explainer: ClearImage, case: Case, model: Classifier) -> tuple[list[float], int]:
    """Run one explanation; return the CPU seconds of each of its steps, and the masks it issued."""
    plan, composer = explainer.plan(case, Keys.root(0, case.image_id)), Composer(model, 64)
    steps: list[float] = []
    scores: Scores | None = None
    while True:
        started = time.process_time()
        turn = step(plan, scores)
        steps.append(time.process_time() - started)
        if isinstance(turn, Done):
            return steps, turn.value.queries_issued
        scores = None if isinstance(turn, Event) else answer(turn, model, composer)
