"""Numbers on regions of a picture: inside where there is room, else beside with a line."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from PIL import ImageDraw
from scipy import ndimage

from xaiserve.report.colours import Rgb
from xaiserve.report.drawing import Picture, font
from xaiserve.report.painting import Mask

Shape = Literal["circle", "square"]

_PAPER: Final[Rgb] = (255, 255, 255)
_INK: Final[Rgb] = (0, 0, 0)
_ROOMY: Final = 2.2
"""A region whose widest place is so many times a badge's radius has its number inside."""

_DISTANCES: Final = (3.0, 4.0, 5.5)
"""From a small region's middle to its badge, in radii."""

_DIRECTIONS: Final = 16


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Badge:
    """A number for the pixels of ``mask``, which has the size of the picture."""

    number: int
    mask: Mask
    colour: Rgb
    shape: Shape = "circle"


def draw_badges(panel: Picture, badges: Sequence[Badge]) -> None:
    """Write numbers onto ``panel``, so that none hides a small region or another number."""
    radius = max(11, min(panel.size) // 36)
    shown = [badge for badge in badges if badge.mask.any()]
    covered = np.any([badge.mask for badge in shown], axis=0) if shown else None
    pen = ImageDraw.Draw(panel)
    taken: list[tuple[int, int]] = []
    for badge in shown:
        middle, room = _middle(badge.mask)
        place = _inside(panel, middle, radius)
        if room < _ROOMY * radius or any(math.dist(place, other) < 2 * radius for other in taken):
            place = min(
                _around(panel, middle, radius),
                key=lambda at: _cost(at, radius, covered, taken, middle),
            )
            pen.line((*middle, *place), fill=_INK, width=4)
            pen.line((*middle, *place), fill=badge.colour, width=2)
        taken.append(place)
        _stamp(pen, badge, place, radius)


def _middle(mask: Mask) -> tuple[tuple[int, int], float]:
    """Return x and y of the place with most room, and that room in pixels."""
    room = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(room.argmax()), mask.shape)
    return (int(column), int(row)), float(room[row, column])


def _inside(panel: Picture, at: tuple[float, float], radius: int) -> tuple[int, int]:
    x, y = (
        round(min(max(value, radius + 1), side - radius - 2))
        for value, side in zip(at, panel.size, strict=True)
    )
    return x, y


def _around(panel: Picture, middle: tuple[int, int], radius: int) -> Iterator[tuple[int, int]]:
    for distance in _DISTANCES:
        for step in range(_DIRECTIONS):
            angle = 2 * math.pi * step / _DIRECTIONS
            x = middle[0] + distance * radius * math.cos(angle)
            y = middle[1] + distance * radius * math.sin(angle)
            yield _inside(panel, (x, y), radius)


def _cost(
    at: tuple[int, int],
    radius: int,
    covered: Mask | None,
    taken: Sequence[tuple[int, int]],
    middle: tuple[int, int],
) -> float:
    """Weigh a place: pixels of regions hidden, numbers overlapped, and distance."""
    assert covered is not None  # noqa: S101 -- there is a badge to place
    x, y = at
    under = covered[max(0, y - radius) : y + radius + 1, max(0, x - radius) : x + radius + 1]
    overlaps = sum(math.dist(at, other) < 2 * radius + 2 for other in taken)
    return float(under.mean()) * 10 + overlaps * 100 + math.dist(at, middle) / radius / 10


def _stamp(pen: ImageDraw.ImageDraw, badge: Badge, at: tuple[int, int], radius: int) -> None:
    x, y = at
    box = (x - radius, y - radius, x + radius, y + radius)
    draw = pen.ellipse if badge.shape == "circle" else pen.rectangle
    draw((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), fill=_INK)
    draw(box, fill=_PAPER, outline=badge.colour, width=3)
    pen.text((x, y), str(badge.number), fill=_INK, font=font(int(radius * 1.2)), anchor="mm")
