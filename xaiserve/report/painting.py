"""How panels treat their picture: enlarged, made grey, outlined; masks go the same way."""

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage
from scipy import ndimage

from xaiserve.report.colours import Rgb
from xaiserve.report.drawing import Picture
from xaiserve.types import Region

SIDE_PX: Final = 448
"""Panels are enlarged by a whole number until their longer side is at least this."""

MAX_SIDE_PX: Final = 2048
"""Panels of larger originals are scaled down to this."""

_SPECKLE_SIDE: Final = 100
"""Smaller pictures are enlarged pixel by pixel: there each pixel counts."""

Values = npt.NDArray[np.float32]
"""Colours (h, w, 3), 0 to 255."""

Mask = npt.NDArray[np.bool_]
"""(h, w)."""

DASH: Final = 3
"""Dashes are so many times as long as they are thick."""


def panel_size(picture: Picture) -> tuple[int, int]:
    """Return width and height of the panel that shows a picture."""
    longer = max(picture.size)
    factor = math.ceil(SIDE_PX / longer) if longer <= MAX_SIDE_PX else MAX_SIDE_PX / longer
    return max(1, round(picture.width * factor)), max(1, round(picture.height * factor))


def resampling(picture: Picture) -> PillowImage.Resampling:
    """Say how a picture is scaled."""
    small = max(picture.size) < _SPECKLE_SIDE
    return PillowImage.Resampling.NEAREST if small else PillowImage.Resampling.BILINEAR


def resized(picture: Picture, size: tuple[int, int]) -> Picture:
    """Scale a picture to its panel."""
    return picture.resize(size, resampling(picture))


def enlarged(mask: Region, size: tuple[int, int]) -> Mask:
    """Scale a mask to its panel, without grey in between."""
    level = PillowImage.fromarray(mask.numpy().astype(np.uint8))
    return np.asarray(level.resize(size, PillowImage.Resampling.NEAREST)) > 0


def greyed(picture: Picture, low: float, high: float) -> Values:
    """Make a picture grey; see `greyed_array`."""
    return greyed_array(np.asarray(picture).astype(np.float32), low, high)


def greyed_array(values: Values, low: float, high: float) -> Values:
    """Make grey and stretch the middle 98 % of the levels to ``low`` to ``high``."""
    grey = values @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    darkest, brightest = (float(end) for end in np.percentile(grey, [1, 99]))
    if brightest - darkest < 1:
        stretched = np.full_like(grey, (low + high) / 2)
    else:
        stretched = low + (grey - darkest) / (brightest - darkest) * (high - low)
    return np.repeat(stretched.clip(low, high)[..., None], 3, axis=2)


def outline(values: Values, mask: Mask, colour: Rgb, *, dashed: bool = False) -> None:
    """Draw the inner edge of a mask into ``values``, with a dark edge outside, seen on anything."""
    thickness = max(2, min(mask.shape) // 180)
    line = mask & ~ndimage.binary_erosion(mask, iterations=thickness)
    halo = ndimage.binary_dilation(mask, iterations=max(1, thickness // 2)) & ~mask
    values[halo] = 0
    if dashed:
        rows, columns = np.indices(mask.shape)
        values[line & ((rows + columns) // (DASH * thickness) % 2 == 1)] = 0
        line &= (rows + columns) // (DASH * thickness) % 2 == 0
    values[line] = colour


def trace(values: Values, mask: Mask, colour: Rgb) -> None:
    """Draw a thin line around a mask, holes aside, through which the picture is still seen."""
    whole = ndimage.binary_fill_holes(mask)
    line = whole & ~ndimage.binary_erosion(whole)
    values[line] = (values[line] + 2 * np.array(colour, dtype=np.float32)) / 3


def to_panel(values: Values) -> Picture:
    """Turn painted values into a picture."""
    return PillowImage.fromarray(values.round().clip(0, 255).astype(np.uint8))
