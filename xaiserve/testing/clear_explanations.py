"""An explanation by CLEAR Image made by hand, so that what a report says of it is known."""

from typing import Any, Final

import torch

from xaiserve.explainers.clear_image import ClearExplanation
from xaiserve.explainers.clear_image.parts import (
    Counterfactual,
    Lattice,
    Neighbourhood,
    Regression,
    Segment,
    Segmentation,
    SufficientCause,
    Term,
)
from xaiserve.types import Labels

SIDE: Final = 112
BOXES: Final = {1: (8, 48, 8, 40), 2: (60, 100, 8, 40), 3: (8, 48, 64, 104)}
"""Segments 1 for the class, 2 against it, 3 without a weight: r0, r1, c0, c1."""

IMAGE: Final = torch.full((3, SIDE, SIDE), 0.25)
CONTRAST: Final = torch.full((1, SIDE, SIDE), 128, dtype=torch.uint8)
INSIDE: Final = {number: ((r0 + r1) // 2 + 15, c0 + 6) for number, (r0, r1, c0, _) in BOXES.items()}
"""A pixel of each segment, away from its number and its edge."""


def label_map() -> Labels:
    labels = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    for number, (r0, r1, c0, c1) in BOXES.items():
        labels[r0:r1, c0:c1] = number
    return labels


def _segment(number: int, importance: float) -> Segment:
    r0, r1, c0, c1 = BOXES[number]
    return Segment(
        id=number,
        kind="high",
        area_px=(r1 - r0) * (c1 - c0),
        box=(r0, c0, r1, c1),
        mean_difference=0.25,
        weight=importance or None,
        importance=importance,
        p_without=0.35,
        p_alone=0.625,
    )


def clear_explanation(**changes: Any) -> ClearExplanation:
    labels = label_map()
    background = Segment(
        id=0, kind="background", area_px=8896, box=(0, 0, SIDE, SIDE), mean_difference=0.125
    )
    difference = torch.where(labels > 0, 64, 0).to(torch.uint8)
    row, column = INSIDE[1]
    difference[row - 2 : row + 3, column - 2 : column + 3] = 128
    given: dict[str, Any] = {
        "image_id": "a" * 64,
        "explainer": "clear-image",
        "target": 1,
        "saliency": (labels == 1).float() - (labels == 2).float(),
        "ending": "complete",
        "flags": ("leakage",),
        "warnings": ("30% of the difference lies outside all segments",),
        "mode": "strict",
        "p1": 0.93,
        "p0": 0.07,
        "boundary": 0.5,
        "decision": "boundary",
        "contrast": CONTRAST,
        "contrast_provider": "nearest",
        "contrast_notes": ("n<17>.png",),
        "difference": difference,
        "leakage": 0.3,
        "labels": labels,
        "segmentation": Segmentation(segmenter="gan_diff", high_threshold=0.25, min_area_px=50),
        "segments": (background, _segment(1, 4.0), _segment(2, -2.0), _segment(3, 0.0)),
        "regression": Regression(
            kind="logistic",
            intercept=-1.25,
            terms=(Term(segments=(1,), weight=4.0), Term(segments=(2,), weight=-2.0)),
            score=12.5,
            score_type="aic",
            accuracy=0.995,
            p=0.92,
            centering_gap=0.01,
            ridge=1e-10,
            centering_rounds=0,
        ),
        "counterfactuals": (
            Counterfactual(segments=(1,), p=0.31, p_regression=0.29, fidelity_error=0.02),
            Counterfactual(segments=(2, 3), p=0.4, p_regression=0.44, fidelity_error=0.04),
        ),
        "counterfactual_depth": 2,
        "fidelity_mean": 0.03,
        "fidelity_max": 0.04,
        "tau": 0.99,
        "sufficient_regression": (SufficientCause(segments=(1,), p=0.993),),
        "sufficient_verified": (
            SufficientCause(segments=(1,), p=0.995),
            SufficientCause(segments=(3,), p=0.991),
        ),
        "overdetermined": True,
        "neighbourhood": Neighbourhood(
            masks=torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 1]], dtype=torch.uint8),
            weights=torch.tensor([101.0, 100.0, 201.0], dtype=torch.float64),
            p=torch.tensor([0.93, 0.07, 0.31], dtype=torch.float64),
            p_regression=torch.tensor([0.92, 0.07, 0.29], dtype=torch.float64),
        ),
        "lattice": None,
        "queries_issued": 1003,
        "queries_distinct": 16,
        **changes,
    }
    return ClearExplanation(**given)


def clear_lattice() -> Lattice:
    return Lattice(
        p=torch.linspace(0, 1, 16, dtype=torch.float64),
        shapley=torch.tensor([0.0, 0.5, -0.125, 0.485], dtype=torch.float64),
        sufficient=((1, 2), (3,)),
        counterfactuals=((1,),),
        mean_error=0.005,
        max_error=0.0625,
    )
