"""How good a map and its sets are: insertion and deletion, concentration, robustness.

Section 7 of the method, after the evaluation of ReX 0.4.1.

Deviation: robustness draws the pictures it is told to, the same ones for all sets; the tool draws
two batches, so that its answer depends on the batch size.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from scipy.integrate import simpson

from xaiserve.explainers.multirex.baselines import prepared
from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.patterns import patterns
from xaiserve.explainers.multirex.results import Curves, Extras
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import Goal, QueryPlan, decide
from xaiserve.perturb.query import Mix, Scene, join
from xaiserve.perturb.removal import come_and_go
from xaiserve.perturb.rng import Keys
from xaiserve.types import Image, Rank, Region, Saliency

ROWS: Final = 64
"""Rows of one round of robustness, as far as `PICTURES` allow; at least one of each set."""

PICTURES: Final = 8
"""Most noise pictures held at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Quality:
    """What the measurements need.

    Parameters
    ----------
    scene
        The image over the fill that the sets are sufficient over.
    confidence
        The target's score for the whole image.
    rank
        The map's ranking.
    """

    case: Case
    scene: Scene
    confidence: float
    rank: Rank
    options: MultiRexOptions
    keys: Keys

    def run(self, masks: Sequence[Region], extras: Extras, *, flat: bool) -> QueryPlan[None]:
        """Measure what the options ask for, ``masks`` being the explanations; note it.

        A ``flat`` map has no ranking to follow, and no curves.
        """
        if self.options.curves and not flat:
            extras.curves = yield from self.curves()
        if self.options.robustness and masks:
            extras.robustness = yield from self.robustness(masks)

    def curves(self) -> QueryPlan[Curves]:
        """Measure insertion and deletion: 2 floor(pixels / step) model inputs in one question."""
        step, pixels = self.options.insertion_step, self.rank.numel()
        sizes = range(step, pixels + 1, step)
        insertion, deletion = yield from come_and_go(
            self.scene, self.scene, self.rank, sizes, self.case.target
        )
        whole = self.confidence * pixels
        return Curves(
            step_px=step,
            insertion=insertion,
            deletion=deletion,
            insertion_auc=float(simpson(insertion.double().numpy(), dx=step)) / whole,
            deletion_auc=float(simpson(deletion.double().numpy(), dx=step)) / whole,
            insertion_mean=float(insertion.double().mean()),
            deletion_mean=float(deletion.double().mean()),
        )

    def robustness(self, masks: Sequence[Region]) -> QueryPlan[tuple[float, ...]]:
        """Say on which share of noise pictures each set keeps the label, if its pixels are pasted.

        One model input per set and picture. Noise is uniform from the least to the greatest value
        of the prepared image, each value drawn alone; a picture is the same for all sets.
        """
        labels, inside = patterns(masks)
        keep = torch.from_numpy(inside)
        goal, kept = Goal(self.case.rule, self.case.target), torch.zeros(len(masks))
        draws, width = self.options.robustness, min(max(1, ROWS // len(masks)), PICTURES)
        for first in range(0, draws, width):
            noisy = [self._noise(draw) for draw in range(first, min(first + width, draws))]
            pasted = [Mix(Scene(self.scene.image, noise), labels, keep) for noise in noisy]
            verdicts = yield from decide(join(pasted), goal)
            kept += verdicts.passes.view(len(noisy), len(masks)).sum(dim=0)
        return tuple((kept / draws).tolist())

    def _noise(self, draw: int) -> Image:
        """Draw a picture between the prepared image's extremes, in image units."""
        case, values = self.case, prepared(self.case)
        low, high = float(values.min()), float(values.max())
        generator = self.keys.child("noise", draw).generator()
        drawn = torch.from_numpy(generator.random(case.image.shape, dtype="float32"))
        return case.neutral + case.unit * (low + (high - low) * drawn)


def concentration(saliency: Saliency) -> float | None:
    """Kullback-Leibler divergence of the uniform map from this one, in bits; 0 when it is uniform.

    None where it is infinite: the map has a value of 0 or less.
    """
    values = saliency.double()
    if float(values.min()) <= 0:
        return None
    shares = values / values.sum()
    return float(-shares.log2().mean()) - math.log2(values.numel())
