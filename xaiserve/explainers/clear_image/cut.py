"""`Cut`: a label map, and what made it; the words that the segmenters share."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import ndimage

from xaiserve.errors import NoExplanationError
from xaiserve.explainers.clear_image.parts import Segmentation, SegmentKind

Grey = Float64[np.ndarray, "h w"]
Mask = Bool[np.ndarray, "h w"]
Numbers = Int64[np.ndarray, "h w"]
"""A number per pixel, 0 where there is no segment."""


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """Segments of a picture.

    Parameters
    ----------
    numbers
        (h, w) From 0, the background, without gaps.
    kinds
        Of each number.
    how
        The algorithm and the values it used in the end.
    """

    numbers: Numbers
    kinds: tuple[SegmentKind, ...]
    how: Segmentation

    @property
    def count(self) -> int:
        """Segments, background included, also where it has no pixels."""
        return len(self.kinds)

    @property
    def areas(self) -> Int64[np.ndarray, " n"]:
        return np.bincount(self.numbers.ravel(), minlength=self.count)


def components(mask: Mask, min_area_px: int = 1) -> Numbers:
    """Give the parts of ``mask`` whose pixels share sides numbers from 1; smaller ones become 0."""
    found, count = ndimage.label(mask)
    areas = np.bincount(found.ravel(), minlength=count + 1)
    kept = areas >= min_area_px
    kept[0] = False
    number = np.where(kept, np.cumsum(kept), 0)
    return np.asarray(number[found], dtype=np.int64)


def nothing_differs(difference: Grey, threshold: float) -> NoExplanationError:
    """Say that no pixel of the contrast differs enough to make a segment."""
    return NoExplanationError(
        f"the contrast picture differs from the image by at most {difference.max():.3g} and "
        f"segments need more than {threshold:g}: choose another contrast, or lower "
        "low_threshold (blank_contrast)"
    )
