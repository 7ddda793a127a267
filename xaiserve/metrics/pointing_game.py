"""Does the explanation point at the object? By its maximum, and by its energy.

Both metrics come with what a blind method gets on the same region: `chance` for a method that
points anywhere, `centre` for one that always points at the middle of the image.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from xaiserve.metrics.scored import AnyMap, Measure, Scored, fitted, flaw, rectified
from xaiserve.parameters import check_fields, param
from xaiserve.types import Region


@dataclass(frozen=True, slots=True, kw_only=True)
class PointingGame:
    """Hit iff a pixel of the region lies closer to the map's maximum than a tolerance.

    Ties: of several maxima, the value is the share that hit, hence between 0 and 1; a constant map
    scores chance. An empty region gives ``empty_mask``.

    References
    ----------
    Zhang et al., *Top-down Neural Attention by Excitation Backprop*, IJCV 2018, arXiv 1608.00507.
    """

    measure: ClassVar[Measure] = Measure("pointing_game", "up")

    tolerance_px: float = param(
        15.0,
        "Radius of the open disc around the maximum, in pixels of the evaluated image; 0 asks for "
        "a maximum inside the region.",
        low=0.0,
        source="TorchRay",
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def score(self, saliency: AnyMap, region: Region) -> Scored:
        """Score one map against one region."""
        if reason := flaw(saliency, region):
            return Scored(None, reason)
        values = fitted(saliency, *region.shape)
        return Scored(float(self._near(region)[values == values.max()].mean()))

    def chance(self, region: Region) -> Scored:
        """Score a point drawn uniformly from the image, on average."""
        if not region.numpy().any():
            return Scored(None, "empty_mask")
        return Scored(float(self._near(region).mean()))

    def centre(self, region: Region) -> Scored:
        """Score the middle of the image."""
        if not region.numpy().any():
            return Scored(None, "empty_mask")
        return Scored(float(middle(self._near(region)).mean()))

    def _near(self, region: Region) -> NDArray[np.bool_]:
        """Mark the pixels from which the region is within tolerance; it must not be empty."""
        if self.tolerance_px == 0:
            return region.numpy()
        distance = distance_transform_edt(~region.numpy())
        # Squared distances are integers: rounding undoes the root, so that "exactly 15" is exact.
        near: NDArray[np.bool_] = np.rint(distance**2) < self.tolerance_px**2
        return near


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyPointingGame:
    """Share of the map's positive mass that lies in the region.

    The same number as relevance mass accuracy. Negative values count as 0; a map without positive
    values gives ``zero_map``, an empty region ``empty_mask``. Ties do not matter.

    References
    ----------
    Wang et al., *Score-CAM*, CVPR-W 2020, arXiv 1910.01279; Arras et al., *CLEVR-XAI*, Information
    Fusion 2022, arXiv 2003.07258 (relevance mass accuracy).
    """

    measure: ClassVar[Measure] = Measure("energy_pointing_game", "up")

    def score(self, saliency: AnyMap, region: Region) -> Scored:
        """Score one map against one region."""
        if reason := flaw(saliency, region):
            return Scored(None, reason)
        energy = rectified(saliency, region)
        inside, whole = energy[region.numpy()].sum(), energy.sum()
        # Pairwise sums of a part and of the whole round apart.
        return Scored(min(float(inside / whole), 1.0)) if whole > 0 else Scored(None, "zero_map")

    def chance(self, region: Region) -> Scored:
        """Score a uniform map: the region's share of the image."""
        return self._share(region.numpy(), region)

    def centre(self, region: Region) -> Scored:
        """Score a map with all its mass in the middle of the image."""
        return self._share(middle(region.numpy()), region)

    def _share(self, pixels: NDArray[np.bool_], region: Region) -> Scored:
        return Scored(float(pixels.mean())) if region.numpy().any() else Scored(None, "empty_mask")


def middle(pixels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a view of the one, two or four pixels nearest to the image's centre."""
    height, width = pixels.shape
    return pixels[(height - 1) // 2 : height // 2 + 1, (width - 1) // 2 : width // 2 + 1]
