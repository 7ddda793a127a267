"""``multirex-quality``: how many images have two explanations that share next to nothing.

On the correctly classified images of the ImageNet sample with odd row numbers (settings were chosen
on even ones), and on ECSSD's photographs, where the target is what the model says. Every set is
scored again by a plain loop that shares no code with the search, over value 0 after normalisation,
which is also the reference tool's. Images whose bare fill has the label are counted apart.

The area of an image is that of the larger of its two smallest members; the reference tool's, from
the recorded rows of the same images, is taken in the same way, or is that of its only member.
"""

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import torch

from benchmarks.common import DATA, Report, need_data, report
from benchmarks.record_rex import cases
from benchmarks.rex import OVERLAP, key_of, recorded
from xaiserve.api import outcomes
from xaiserve.explainers.multirex import (
    MultiRex,
    MultiRexExplanation,
    SufficientSet,
    dice_matrix,
    select_family,
)
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Cost

BAR: Final = 0.96
QUICK_IMAGES: Final = 2
EXPLAINER: Final = MultiRex()
KEPT: Final = (0.1, 0.25, 0.5, 0.9)
"""Shares of the whole image's confidence at which sets are counted."""

Row = dict[str, Any]  # Any: JSON


PIXELS: Final = 224 * 224
"""Of both networks' inputs."""

NETWORKS: Final = ("mobilenet_v2_imagenet1k", "squeezenet1_1_imagenet1k")
SETS: Final = ("odd", "ecssd")


def run(quick: bool) -> Report:
    """Explain all images with both classifiers (``quick``: two of each)."""
    need_data()
    figures: dict[str, Any] = {"explainer": repr(EXPLAINER)}
    held = True
    for network in NETWORKS:
        model = load_classifier(DATA / "classifiers" / network / "model.onnx", threads=2)
        for name in SETS:
            images = (case for _, case in cases(name, model))
            rows = measured(model, islice(images, QUICK_IMAGES if quick else None), EXPLAINER)
            found = figures[f"{network}, {name}"] = summary(list(rows))
            held = held and found["two_or_more"] >= BAR and found["not_sufficient_alone"] == 0
            held = held and not _larger(found["area"], found["tool"])
    value = min(found["two_or_more"] for found in figures.values() if isinstance(found, dict))
    return report(
        value, f">= {BAR} everywhere, area not above the tool's", holds=held, figures=figures
    )


def _larger(area: float | None, tool: Row | None) -> bool:
    return area is not None and tool is not None and area > tool["area"]


def measured(model: LoadedClassifier, images: Iterable[Case], explainer: MultiRex) -> Iterator[Row]:
    """Explain ``images`` and describe what was found, one row each."""
    with Engine(model) as engine:
        for outcome in outcomes(explainer, engine, images):
            found = outcome.explanation
            if not isinstance(found, MultiRexExplanation):
                raise outcome.error or TypeError(f"no explanation of {outcome.case.name}")
            yield _row(model, outcome.case, found, outcome.cost)


def _row(model: LoadedClassifier, case: Case, found: MultiRexExplanation, cost: Cost) -> Row:
    masks = [one.mask for one in found.explanations]
    family, _ = select_family(masks, OVERLAP)
    members = sorted((found.explanations[index] for index in family), key=_area)
    dice = dice_matrix([one.mask for one in members]).fill_diagonal_(0) if members else None
    return {
        "key": key_of(case, model),
        "trivial": found.trivial,
        "family": len(members),
        "family_disjoint": len(found.selected),
        "area": [round(one.area_fraction, 5) for one in members],
        "confidence": [round(one.confidence / found.confidence, 4) for one in members],
        "components": [one.components for one in members],
        "kind": [one.kind for one in members],
        "dice": 0.0 if dice is None else round(float(dice.max()), 4),
        "not_sufficient_alone": sum(not _keeps_label(model, case, mask) for mask in masks),
        "model_inputs": cost.model_inputs,
    }


def _area(one: SufficientSet) -> int:
    return one.area_px


def _keeps_label(model: LoadedClassifier, case: Case, mask: torch.Tensor) -> bool:
    shown = torch.where(mask, case.image, case.neutral)
    outputs = model.runner.outputs(model.spec.normalise(shown.unsqueeze(0)))
    return int(outputs.argmax()) == case.target


def summary(rows: Sequence[Row]) -> Row:
    """Summarise rows; the tool's part covers the images for which it has recorded rows."""
    proper = [row for row in rows if not row["trivial"]]
    pairs = [row for row in proper if row["family"] > 1]
    members = [
        one for row in pairs for one in zip(row["confidence"], row["components"], strict=True)
    ]
    weaker = [sorted(row["confidence"])[-2] for row in pairs]
    return {
        "images": len(proper),
        "trivial": len(rows) - len(proper),
        "two_or_more": _share(row["family"] > 1 for row in proper),
        "two_or_more_disjoint": _share(row["family_disjoint"] > 1 for row in proper),
        "family_sizes": dict(sorted(Counter(row["family"] for row in proper).items())),
        "area": _median([row["area"][1] for row in pairs]),
        "two_or_more_at_confidence": {
            f">= {kept}": round(sum(each >= kept for each in weaker) / len(proper), 3)
            for kept in KEPT
        },
        "sets_at_confidence_0.9": _share(each >= KEPT[-1] for each, _ in members),
        "confidence": _median([each for each, _ in members]),
        "components": _median([parts for _, parts in members]),
        "largest_dice": max((row["dice"] for row in pairs), default=None),
        "kinds": dict(Counter(kind for row in pairs for kind in row["kind"])),
        "model_inputs": _median([row["model_inputs"] for row in proper]),
        "model_inputs_mean": round(statistics.fmean(row["model_inputs"] for row in proper), 1),
        "not_sufficient_alone": sum(row["not_sufficient_alone"] for row in rows),
        "tool": _tool(rows),
    }


def _tool(rows: Sequence[Row]) -> Row | None:
    known = recorded()
    ours = {row["key"]: row for row in rows if row["key"] in known and not row["trivial"]}
    if not ours:
        return None
    areas, families, inputs = [], [], []
    for key in ours:
        row = known[key]
        family = sorted(row["area_px"][index] for index in row["families"][str(OVERLAP)])
        families.append(len(family))
        areas += [family[min(1, len(family) - 1)] / PIXELS] if family else []
        inputs.append(sum(row["inputs"].values()))
    same = [row["area"][1] for row in ours.values() if row["family"] > 1]
    return {
        "images": len(ours),
        "two_or_more": _share(size > 1 for size in families),
        "family_sizes": dict(sorted(Counter(families).items())),
        "area": _median(areas),
        "our_area_there": _median(same),
        "model_inputs": _median(inputs),
    }


def _median(values: Sequence[float]) -> float | None:
    return round(statistics.median(values), 4) if values else None


def _share(flags: Iterable[bool]) -> float:
    each = list(flags)
    return round(sum(each) / len(each), 4)
