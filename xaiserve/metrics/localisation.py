"""How well a map's order of pixels singles out a region.

Negative values count as 0 in all of them but `LevelIou`; a map without positive values gives
``zero_map`` and an empty region ``empty_mask``. Chance of `RankAccuracy` is the region's share of
the image (`EnergyPointingGame.chance`), of `PixelAuroc` 0.5.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from xaiserve.metrics.order import rank_pixels
from xaiserve.metrics.scored import AnyMap, Measure, Reason, Scored, fitted, flaw, rectified
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.rng import Keys
from xaiserve.types import Region


@dataclass(frozen=True, slots=True, kw_only=True)
class RankAccuracy:
    """Share of the top ``|region|`` pixels that lie in the region; equals their Dice.

    Ties are ordered at random, by ``keys``.

    References
    ----------
    Arras et al., *CLEVR-XAI*, Information Fusion 2022, arXiv 2003.07258.
    """

    measure: ClassVar[Measure] = Measure("rank_accuracy", "up")

    def score(self, saliency: AnyMap, region: Region, keys: Keys) -> Scored:
        """Score one map against one region."""
        if reason := _flaw(saliency, region):
            return Scored(None, reason)
        return Scored(_found(saliency, region, keys) / int(region.sum()))


@dataclass(frozen=True, slots=True, kw_only=True)
class TopIou:
    """Intersection over union of the top ``|region|`` pixels with the region.

    Ties are ordered at random, by ``keys``.
    """

    measure: ClassVar[Measure] = Measure("iou", "up")

    def score(self, saliency: AnyMap, region: Region, keys: Keys) -> Scored:
        """Score one map against one region."""
        if reason := _flaw(saliency, region):
            return Scored(None, reason)
        found = _found(saliency, region, keys)
        return Scored(found / (2 * int(region.sum()) - found))


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelIou:
    """Intersection over union with the region of the pixels above a level of the map.

    The map is scaled to [0, 1] by its own least and largest value; negative values stay signed. A
    constant map gives ``constant_map``.

    References
    ----------
    White et al., *Contrastive Counterfactual Visual Explanations With Overdetermination*, Machine
    Learning 2023, arXiv 2106.14556: the second measure of the authors' released code.
    """

    measure: ClassVar[Measure] = Measure("level_iou", "up")

    maps: Literal["segments", "smooth"] = param(
        "smooth",
        "Smooth maps are cut at the level, its own pixels included; maps of segments keep the "
        "largest distinct values above it",
        source="CLEAR",
    )
    level: float = param(0.7, "Where the scaled map is cut", low=0, high=1, source="CLEAR")
    values: int = param(
        4, "Distinct values that a map of segments keeps at most", low=1, high=1000, source="CLEAR"
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def score(self, saliency: AnyMap, region: Region) -> Scored:
        """Score one map against one region."""
        if reason := flaw(saliency, region):
            return Scored(None, reason)
        found = fitted(saliency, *region.shape)
        low, high = found.min(), found.max()
        if low == high:
            return Scored(None, "constant_map")
        shown, inside = self._shown((found - low) / (high - low)), region.numpy()
        return Scored(float((shown & inside).sum() / (shown | inside).sum()))

    def _shown(self, scaled: NDArray[np.float64]) -> NDArray[np.bool_]:
        if self.maps == "smooth":
            return scaled >= self.level
        distinct = np.unique(scaled[scaled > self.level])
        return np.asarray(scaled >= distinct[-self.values :].min(initial=1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelAuroc:
    """Probability that a pixel of the region outranks one outside; a tie counts one half.

    A region that is the whole image gives ``full_mask``.
    """

    measure: ClassVar[Measure] = Measure("auroc", "up")

    def score(self, saliency: AnyMap, region: Region) -> Scored:
        """Score one map against one region."""
        if reason := _flaw(saliency, region):
            return Scored(None, reason)
        inside = region.numpy().ravel()
        if inside.all():
            return Scored(None, "full_mask")
        ranks = rankdata(rectified(saliency, region).ravel())
        positive = int(inside.sum())
        # Mann and Whitney's U over the number of pairs.
        wins = ranks[inside].sum() - positive * (positive + 1) / 2
        return Scored(float(wins / (positive * (inside.size - positive))))


def _flaw(saliency: AnyMap, region: Region) -> Reason:
    return flaw(saliency, region) or ("" if (saliency.numpy() > 0).any() else "zero_map")


def _found(saliency: AnyMap, region: Region, keys: Keys) -> int:
    """Count the pixels of the region among its top ``|region|``."""
    rank, inside = rank_pixels(rectified(saliency, region), keys).numpy(), region.numpy()
    return int((rank[inside] < inside.sum()).sum())
