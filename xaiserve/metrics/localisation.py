"""How well a map's order of pixels singles out a region.

Negative values count as 0 in all of them; a map without positive values gives ``zero_map`` and an
empty region ``empty_mask``. Chance of `RankAccuracy` is the region's share of the image
(`EnergyPointingGame.chance`), of `PixelAuroc` 0.5.
"""

from dataclasses import dataclass
from typing import ClassVar

from scipy.stats import rankdata

from xaiserve.metrics.order import rank_pixels
from xaiserve.metrics.scored import AnyMap, Measure, Reason, Scored, flaw, rectified
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
