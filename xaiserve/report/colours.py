"""Colours with a reason: ordered by lightness for maps, told apart by everybody for outlines."""

from typing import Final

import numpy as np
import numpy.typing as npt

Rgb = tuple[int, int, int]

HEAT: Final[tuple[Rgb, ...]] = (
    (16, 11, 60),
    (75, 12, 107),
    (133, 33, 107),
    (186, 54, 85),
    (227, 89, 51),
    (249, 142, 9),
    (249, 201, 50),
    (252, 255, 164),
)
"""From dark violet to pale yellow: lightness grows evenly, so that it also reads in grey."""

SIGNED: Final[tuple[Rgb, ...]] = (
    (33, 102, 172),
    (103, 169, 207),
    (209, 229, 240),
    (247, 247, 247),
    (253, 219, 199),
    (239, 138, 98),
    (178, 24, 43),
)
"""Blue below zero, white at zero, red above: for maps that speak for and against."""

FOR: Final[Rgb] = (240, 130, 0)
AGAINST: Final[Rgb] = (30, 120, 235)
"""What speaks for a class, and against it: orange and blue stay apart with any colour vision."""

INFLUENCE: Final[tuple[Rgb, ...]] = (AGAINST, (235, 235, 235), FOR)
"""From against to for, through the pale grey of what has no say."""

OUTLINES: Final[tuple[Rgb, ...]] = (
    (240, 228, 66),
    (86, 180, 233),
    (230, 120, 0),
    (0, 190, 130),
    (230, 130, 190),
    (90, 110, 255),
    (225, 60, 30),
    (170, 220, 90),
)
"""After Okabe and Ito: told apart with any colour vision, bright enough on a dimmed picture."""

Picture = npt.NDArray[np.uint8]
"""(h, w, 3)."""


def coloured(values: npt.NDArray[np.float32], anchors: tuple[Rgb, ...]) -> Picture:
    """Colour ``values`` in [0, 1] by straight lines between evenly spaced anchors."""
    places = np.linspace(0.0, 1.0, len(anchors))
    table = np.array(anchors, dtype=np.float64)
    channels = [np.interp(values, places, table[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def outline_colour(index: int) -> Rgb:
    """Give the colour of explanation ``index``; colours repeat after `OUTLINES`."""
    return OUTLINES[index % len(OUTLINES)]
