"""`Scored`: a metric's number about one explanation, or the reason why there is none."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from xaiserve.types import Region

Reason = Literal[
    "",
    "empty_mask",
    "full_mask",
    "constant_map",
    "nonfinite_map",
    "zero_map",
    "size_mismatch",
    "query_failed",
]
"""Why a value is missing; empty where it is not."""

AnyMap = Float32[Tensor, "map_h map_w"]
"""A saliency whose size need not be the region's."""


@dataclass(frozen=True, slots=True)
class Measure:
    """What is true of every value of one kind.

    Parameters
    ----------
    name
        The value of the ``metric`` column.
    better
        Which direction is better.
    low, high
        Inclusive bounds.
    """

    name: str
    better: Literal["up", "down"]
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True, slots=True)
class Scored:
    """One value, or none and the reason.

    Parameters
    ----------
    value
        Finite, or None.
    reason
        Empty exactly when there is a value.
    """

    value: float | None
    reason: Reason = ""

    def __post_init__(self) -> None:
        if (self.value is None) != bool(self.reason):
            raise ValueError(
                f"either value or reason must be given, got {self.value} and {self.reason!r}"
            )
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"value must be finite, got {self.value}")


def flaw_of_map(saliency: AnyMap, height: int, width: int) -> Reason:
    """Say why a map cannot be scored on an image of that size; empty when it can."""
    if saliency.numel() == 0 or saliency.shape[0] * width != saliency.shape[1] * height:
        return "size_mismatch"
    return "" if bool(np.isfinite(saliency.numpy()).all()) else "nonfinite_map"


def flaw(saliency: AnyMap, region: Region) -> Reason:
    """Say why a map cannot be scored against a region; empty when it can."""
    return flaw_of_map(saliency, *region.shape) if region.numpy().any() else "empty_mask"


def fitted(saliency: AnyMap, height: int, width: int) -> NDArray[np.float64]:
    """Bring a map to (height, width), bilinear where the sizes differ.

    Only for maps of the same aspect ratio (a coarser grid of the same image); any other size is no
    map of this image, which `flaw_of_map` reports.
    """
    if tuple(saliency.shape) != (height, width):
        saliency = interpolate(saliency[None, None], (height, width), mode="bilinear")[0, 0]
    return saliency.numpy().astype(np.float64)


def rectified(saliency: AnyMap, region: Region) -> NDArray[np.float64]:
    """Bring a map to the region's size and set its negative values to 0."""
    return fitted(saliency, *region.shape).clip(min=0.0)
