"""From a picture in [0, 1] to the network's units and size, and back.

Deviation: the published training does not scale explicitly, and how its outputs became pictures is
not known. Here training and use scale alike, by each picture's own darkest and brightest value.
"""

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional

from xaiserve.errors import InvalidInputError
from xaiserve.types import Images

MIN_CONTRAST: Final = 1 / 255
"""A picture whose values differ by less shows nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """The darkest and the brightest value of each picture."""

    low: Float32[Tensor, "n 1 1 1"]
    high: Float32[Tensor, "n 1 1 1"]

    @classmethod
    def of(cls, images: Images) -> "Span":
        """Measure pictures.

        Raises
        ------
        InvalidInputError
            A value is not finite, or a picture is constant.
        """
        if not torch.isfinite(images).all():
            raise InvalidInputError("image must hold finite values, got NaN or infinity")
        low, high = (
            images.amin(dim=(1, 2, 3), keepdim=True),
            images.amax(dim=(1, 2, 3), keepdim=True),
        )
        if len(images) and float((high - low).min()) < MIN_CONTRAST:
            raise InvalidInputError(
                "image must not be constant, got one whose values differ by "
                f"{float((high - low).min()):.4f}"
            )
        return cls(low, high)

    def __getitem__(self, rows: Tensor | slice) -> "Span":
        """Return the spans of some pictures."""
        return Span(self.low[rows], self.high[rows])

    def to(self, device: torch.device) -> "Span":
        """Return a copy on ``device``."""
        return Span(self.low.to(device), self.high.to(device))

    def to_inputs(self, images: Images) -> Images:
        """Scale to [-1, 1]."""
        return (images - self.low) / (self.high - self.low) * 2 - 1

    def to_images(self, inputs: Images) -> Images:
        """Scale back, into [0, 1]."""
        return ((inputs + 1) / 2 * (self.high - self.low) + self.low).clamp(0, 1)


def resized(images: Float[Tensor, "n c h w"], height: int, width: int) -> Float[Tensor, "n c i j"]:
    """Resize bilinearly, with antialiasing where it shrinks; the same size is no change."""
    if images.shape[2:] == (height, width):
        return images
    return functional.interpolate(
        images, size=(height, width), mode="bilinear", antialias=True, align_corners=False
    )
