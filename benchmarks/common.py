"""What the benchmarks share: real classifiers and images, interleaved pairs, one report form."""

import json
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from xaiserve.api import load_case
from xaiserve.models.classifier import Classifier
from xaiserve.perturb.case import Case

DATA: Final = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Real classifiers and images, beside the checkout; their licences keep them out of it."""

MOBILENET: Final = DATA / "classifiers" / "mobilenet_v2_imagenet1k"

Report = dict[str, Any]  # Any: JSON


def report(value: object, bar: object, *, holds: bool, figures: Mapping[str, object]) -> Report:
    """Form a benchmark's answer; the runner adds name, device and command."""
    return {"value": value, "bar": bar, "holds": holds, "figures": dict(figures)}


def need_data() -> None:
    """End with a sentence when the real classifiers and images are absent."""
    if not DATA.is_dir():
        raise SystemExit(f"this benchmark needs the classifiers and images in {DATA}")


def correct_cases(model: Classifier, count: int) -> list[Case]:
    """Load the first ``count`` images of the ImageNet sample that ``model`` gets right."""
    annotations = json.loads((DATA / "imagenet_sample" / "annotations.json").read_text())
    cases: list[Case] = []
    for row in annotations:
        case = load_case(DATA / "imagenet_sample" / row["image"], model)
        if case.target == row["label"]:
            cases.append(case)
        if len(cases) == count:
            break
    return cases


def interleaved(
    first: Callable[[], float], second: Callable[[], float], pairs: int
) -> tuple[list[float], list[float]]:
    """Measure two things in turn, so that a drift of the machine's speed hits both."""
    measured = [(first(), second()) for _ in range(pairs)]
    return [a for a, _ in measured], [b for _, b in measured]


def spread(values: list[float]) -> dict[str, float]:
    """Say median, least and most of ``values``."""
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }
