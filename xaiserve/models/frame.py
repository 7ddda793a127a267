"""From a picture of any size to the model's input, and back, as one affine transform."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float32
from PIL import Image as PillowImage

from xaiserve.models.spec import ModelSpec, Resample
from xaiserve.types import Region, Saliency

FILTERS = {
    "nearest": PillowImage.Resampling.NEAREST,
    "bilinear": PillowImage.Resampling.BILINEAR,
    "bicubic": PillowImage.Resampling.BICUBIC,
    "lanczos": PillowImage.Resampling.LANCZOS,
    "box": PillowImage.Resampling.BOX,
}

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels, end exclusive."""

OriginalRegion = Bool[torch.Tensor, "original_h original_w"]
OriginalSaliency = Float32[torch.Tensor, "original_h original_w"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where the model's input lies in the original picture (EXIF orientation already applied).

    The picture is scaled to ``scaled_height`` x ``scaled_width`` and cropped to ``height`` x
    ``width`` from (``top``, ``left``); a negative offset is padding.
    """

    original_height: int
    original_width: int
    scaled_height: int
    scaled_width: int
    top: int
    left: int
    height: int
    width: int

    @property
    def scale_x(self) -> float:
        return self.scaled_width / self.original_width

    @property
    def scale_y(self) -> float:
        return self.scaled_height / self.original_height

    @classmethod
    def fit(cls, spec: ModelSpec, original_height: int, original_width: int) -> "Frame":
        """Plan the resize and centre crop that ``spec`` declares for a picture of that size."""
        if spec.resize.mode == "exact":
            scaled = (spec.height, spec.width)
        else:
            side, shorter = spec.resize.side_px, min(original_height, original_width)
            # Truncation, not rounding, of the longer side: what the published classifiers' own
            # preprocessing does, and one pixel moves the crop.
            scaled = (
                max(1, int(side * original_height / shorter)),
                max(1, int(side * original_width / shorter)),
            )
        return cls(
            original_height=original_height,
            original_width=original_width,
            scaled_height=scaled[0],
            scaled_width=scaled[1],
            top=(scaled[0] - spec.height) // 2,
            left=(scaled[1] - spec.width) // 2,
            height=spec.height,
            width=spec.width,
        )

    def apply(self, picture: PillowImage.Image, resample: Resample) -> PillowImage.Image:
        """Scale and crop a picture of the original size to the model's."""
        scaled = picture.resize((self.scaled_width, self.scaled_height), FILTERS[resample])
        box = (self.left, self.top, self.left + self.width, self.top + self.height)
        return scaled.crop(box)

    def region(self, mask: OriginalRegion) -> Region:
        """Carry a ground-truth mask of the original size to the model's, nearest neighbour."""
        picture = PillowImage.fromarray(mask.numpy().astype(np.uint8))
        return torch.from_numpy(np.array(self.apply(picture, "nearest")) > 0)

    def box(self, box: Box) -> Box:
        """Carry a box to the model's pixels, clipped; empty (x1 <= x0) when the crop removed it."""
        x0, y0, x1, y1 = box
        return (
            min(max(x0 * self.scale_x - self.left, 0.0), self.width),
            min(max(y0 * self.scale_y - self.top, 0.0), self.height),
            min(max(x1 * self.scale_x - self.left, 0.0), self.width),
            min(max(y1 * self.scale_y - self.top, 0.0), self.height),
        )

    def to_original(self, saliency: Saliency) -> OriginalSaliency:
        """Carry a map back to the original pixels, bilinear; 0 where the crop removed them."""
        return self._back(saliency.numpy(), "bilinear")

    def mask_to_original(self, mask: Region) -> OriginalRegion:
        """Carry a mask back to the original pixels, nearest neighbour."""
        return self._back(mask.numpy().astype(np.float32), "nearest") > 0.5  # noqa: PLR2004

    def _back(
        self, values: "np.typing.NDArray[np.float32]", resample: Resample
    ) -> OriginalSaliency:
        whole = PillowImage.new("F", (self.scaled_width, self.scaled_height))
        whole.paste(PillowImage.fromarray(values.astype(np.float32)), (self.left, self.top))
        back = whole.resize((self.original_width, self.original_height), FILTERS[resample])
        return torch.from_numpy(np.array(back, dtype=np.float32))
