"""Insertion and deletion: the score as the most salient pixels come and go.

V. Petsiuk, A. Das, K. Saenko, *RISE: Randomized Input Sampling for Explanation of Black-box
Models*, BMVC 2018, arXiv 1806.07421, section 4.3.

Deviations:

1. A step is 1/100 of the pixels instead of 224 of them.
2. Pixels of equal saliency come in seeded random order instead of by position.
3. The class is the case's target; it is the authors' when the target is the predicted class.
"""

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

import torch
from jaxtyping import Float32
from torch import Tensor

from xaiserve.errors import InvalidInputError
from xaiserve.metrics.order import rank_pixels
from xaiserve.metrics.scored import AnyMap, Measure, Reason, Scored, fitted, flaw_of_map
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case
from xaiserve.perturb.fills import blurred
from xaiserve.perturb.plan import Event
from xaiserve.perturb.query import Query, Scene
from xaiserve.perturb.removal import come_and_go
from xaiserve.perturb.rng import Keys
from xaiserve.types import Scores

Score = Literal["insertion", "deletion"]

SCORES: Final = get_args(Score)
"""What a job may name; one question answers both, so that either costs both."""

Curve = Float32[Tensor, " n"]
"""The target's score after each step, from none of the pixels to all; empty when not scored."""

ROUNDING = 1e-5
"""How far a probability may leave [0, 1] by float32 arithmetic alone."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FaithfulnessCurves:
    """Both curves of one map; without a step when ``reason`` says why.

    Parameters
    ----------
    insertion, deletion
        Scores after 0, 1, ... steps of ``step_px`` pixels; the last step may be smaller.
    model_inputs
        Pictures asked about.
    """

    image_id: str
    target: int
    step_px: int
    insertion: Curve
    deletion: Curve
    reason: Reason = ""

    @property
    def model_inputs(self) -> int:
        return len(self.insertion) + len(self.deletion)

    @property
    def insertion_auc(self) -> Scored:
        return Scored(None, self.reason) if self.reason else Scored(area(self.insertion))

    @property
    def deletion_auc(self) -> Scored:
        return Scored(None, self.reason) if self.reason else Scored(area(self.deletion))

    @property
    def insertion_minus_deletion(self) -> Scored:
        if self.reason:
            return Scored(None, self.reason)
        return Scored(area(self.insertion) - area(self.deletion))


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertionDeletion:
    """Insert the most salient pixels into a blurred image, and delete them from the image.

    Deletion writes the colour that the model sees as 0; insertion starts from the image blurred as
    in the authors' code. Ties of the map are ordered at random.
    """

    insertion: ClassVar[Measure] = Measure("insertion_auc", "up")
    deletion: ClassVar[Measure] = Measure("deletion_auc", "down")
    difference: ClassVar[Measure] = Measure("insertion_minus_deletion", "up", -1.0, 1.0)

    steps: int = param(
        100,
        "Number of steps; each moves this fraction of the pixels, rounded up.",
        low=10,
        source="ours",
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def plan(
        self, case: Case, saliency: AnyMap, keys: Keys
    ) -> Generator[Query | Event, Scores | None, FaithfulnessCurves]:
        """Ask once, for both curves: 2 (n + 1) pictures, n = ceil(pixels / step).

        Raises
        ------
        InvalidInputError
            More steps than pixels, or a model whose target scores are no probabilities.
        """
        if reason := flaw_of_map(saliency, case.height, case.width):
            none = torch.empty(0)
            return _curves(case, 0, none, none, reason)
        sizes = _sizes(case.height * case.width, self.steps)
        rank = rank_pixels(fitted(saliency, case.height, case.width), keys)

        start = Scene(case.image, blurred(case.image, around=case.neutral))
        gone = Scene(case.image, case.neutral.expand_as(case.image).contiguous())
        insertion, deletion = yield from come_and_go(start, gone, rank, sizes, case.target)
        both = _probabilities(insertion), _probabilities(deletion)
        return _curves(case, sizes[1], *both, "")

    def bytes_in_flight(self, case: Case) -> int:
        """Count the image, both fills and the order of the pixels."""
        return 3 * 4 * case.image.numel() + 8 * case.height * case.width


def _curves(
    case: Case, step_px: int, insertion: Curve, deletion: Curve, reason: Reason
) -> FaithfulnessCurves:
    return FaithfulnessCurves(
        image_id=case.image_id,
        target=case.target,
        step_px=step_px,
        insertion=insertion,
        deletion=deletion,
        reason=reason,
    )


def _sizes(pixels: int, steps: int) -> list[int]:
    """Say how many pixels have moved after each step, from 0 to all."""
    if steps > pixels:
        raise InvalidInputError(
            f"steps must be from 10 to {pixels}, the pixels of the image, got {steps}"
        )
    step_px = math.ceil(pixels / steps)
    return [*range(0, pixels, step_px), pixels]


def _probabilities(scores: Curve) -> Curve:
    low, high = float(scores.min()), float(scores.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InvalidInputError(
            "insertion and deletion need a model whose scores are probabilities from 0 to 1, "
            f"got scores from {low:g} to {high:g}; state its activation"
        )
    return scores.clamp(0.0, 1.0)


def area(curve: Curve) -> float:
    """Area under a curve of n + 1 scores by the trapezoid rule, its width scaled to 1."""
    p = curve.double()
    return float((p.sum() - p[0] / 2 - p[-1] / 2) / (len(p) - 1))


def check_scores(scores: Sequence[str]) -> None:
    """Refuse names that are no scores, or come twice.

    Raises
    ------
    InvalidInputError
        So it is.
    """
    if not set(scores) <= set(SCORES) or len(set(scores)) < len(scores):
        raise InvalidInputError(
            f"scores must be among {', '.join(SCORES)}, each once, got {', '.join(scores)}"
        )
