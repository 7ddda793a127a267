"""What is told in the end: segments, counterfactuals, the map, and what a reader must know."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from xaiserve.explainers.clear_image.caveats import caveats
from xaiserve.explainers.clear_image.cut import Cut, Grey
from xaiserve.explainers.clear_image.equation import predict
from xaiserve.explainers.clear_image.findings import Findings, Importances
from xaiserve.explainers.clear_image.masks import only, without
from xaiserve.explainers.clear_image.parts import Counterfactual, Neighbourhood, Segment, SegmentSet
from xaiserve.explainers.clear_image.results import ClearExplanation
from xaiserve.explainers.clear_image.segmentation import difference_map
from xaiserve.explainers.clear_image.sufficiency import sufficient_by_regression
from xaiserve.explainers.clear_image.table import Masks, Table
from xaiserve.types import Saliency

SALIENCY_FLOOR: Final = 0.01
"""Values within this share of the largest are 0."""


def describe(found: Findings, name: str) -> ClearExplanation:
    """Put the explanation together."""
    case, options, table, equation = found.case, found.options, found.table, found.fitted.equation
    difference = difference_map(case.image, found.contrast.image, parity=found.parity)
    importances = importance(equation.weights, table.segments)
    p1, p0 = table.p(found.ends).tolist()
    counterfactuals = _counterfactuals(found)
    errors = [each.fidelity_error for each in counterfactuals]
    by_regression = sufficient_by_regression(equation.intercept, equation.weights, options)
    leakage = _leakage(difference, found.cut)
    notes = list(caveats(found, importances, leakage))
    rows = found.rows
    causes = by_regression if found.parity else found.verified
    keeps, kept = table.keeps(found.ends)
    flips = found.parity or bool(keeps and not kept)
    return ClearExplanation(
        image_id=case.image_id,
        explainer=name,
        target=case.target,
        saliency=paint(importances, found.cut, parity=found.parity),
        ending="stopped" if found.stopped else "complete",
        flags=tuple(flag for flag, _ in notes),
        warnings=tuple(sentence for _, sentence in notes),
        mode=options.mode,
        p1=p1,
        p0=p0,
        boundary=table.boundary.value,
        decision=table.boundary.kind,
        contrast=eight_bits(found.contrast.image),
        contrast_provider=found.contrast.provider,
        contrast_notes=found.contrast.notes,
        difference=eight_bits(torch.from_numpy(difference)),
        leakage=leakage,
        labels=torch.from_numpy(found.cut.numbers),
        segmentation=found.cut.how,
        segments=tuple(_segments(found, difference, importances)),
        regression=found.fitted.regression,
        counterfactuals=counterfactuals,
        counterfactual_depth=found.depth,
        fidelity_mean=float(np.mean(errors)) if errors else None,
        fidelity_max=max(errors) if errors else None,
        tau=options.tau,
        sufficient_regression=by_regression,
        sufficient_verified=found.verified,
        overdetermined=flips and sum(len(each.segments) == 1 for each in causes) > 1,
        neighbourhood=Neighbourhood(
            masks=torch.from_numpy(rows.masks.astype(np.uint8)),
            weights=torch.from_numpy(rows.weights),
            p=torch.from_numpy(rows.p),
            p_regression=torch.from_numpy(predict(equation, rows.masks, linear=found.linear)),
        ),
        lattice=found.lattice,
        queries_issued=found.issued,
        queries_distinct=len(table),
    )


def importance(weights: dict[SegmentSet, float], segments: int) -> Importances:
    """Give each segment its weight, and half of the weight of each product that it is in."""
    found = np.zeros(segments)
    for term, weight in weights.items():
        found[list(term)] += weight / len(term)
    return found


def paint(importances: Importances, cut: Cut, *, parity: bool) -> Saliency:
    """Spread each segment's importance over its pixels.

    Parity spreads it over the pixels of all segments of equal importance.
    """
    areas = cut.areas
    spread = np.array(
        [areas[importances == one].sum() if parity else area
         for one, area in zip(importances, areas, strict=True)]
    )  # fmt: skip
    values = importances / np.maximum(spread, 1)
    values[areas == 0] = 0.0
    values[np.abs(values) < SALIENCY_FLOOR * np.abs(values).max()] = 0.0
    return torch.from_numpy(values.astype(np.float32)[cut.numbers])


def eight_bits(picture: Tensor) -> UInt8[Tensor, "..."]:
    """Round values in [0, 1] to 0 to 255."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)


def _leakage(difference: Grey, cut: Cut) -> float:
    """Share of the difference that lies in the background."""
    return float(difference[cut.numbers == 0].sum() / max(difference.sum(), 1e-12))


def _counterfactuals(found: Findings) -> tuple[Counterfactual, ...]:
    sets = found.grid.counterfactuals
    masks = without(sets, found.table.segments)
    p = found.table.p(masks)
    fitted = predict(found.fitted.equation, masks, linear=found.linear)
    return tuple(
        Counterfactual(segments=each, p=own, p_regression=said, fidelity_error=abs(said - own))
        for each, own, said in zip(sets, p.tolist(), fitted.tolist(), strict=True)
    )


def _segments(found: Findings, difference: Grey, importances: Importances) -> Iterator[Segment]:
    table, cut = found.table, found.cut
    areas = cut.areas
    sums = np.bincount(cut.numbers.ravel(), difference.ravel(), minlength=cut.count)
    weights = found.fitted.equation.weights
    every: list[SegmentSet] = [(segment,) for segment in range(cut.count)]
    missing = _known(table, without(every, cut.count))
    alone = _known(table, only(every, cut.count))
    for segment, kind in enumerate(cut.kinds):
        yield Segment(
            id=segment,
            kind=kind,
            area_px=int(areas[segment]),
            box=_box(cut, segment),
            mean_difference=float(sums[segment] / max(1, areas[segment])),
            weight=weights.get((segment,)),
            importance=float(importances[segment]),
            p_without=missing[segment],
            p_alone=alone[segment],
        )


def _known(table: Table, masks: Masks) -> list[float | None]:
    known = table.knows(masks)
    return [
        float(table.p(masks[row : row + 1])[0]) if there else None
        for row, there in enumerate(known)
    ]


def _box(cut: Cut, segment: int) -> tuple[int, int, int, int]:
    inside = cut.numbers == segment
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return (0, 0, 0, 0)
    return (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1)
