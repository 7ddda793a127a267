"""Panels: a map, or sets of pixels, drawn over their picture, each above its legend.

The picture is made grey first, and its contrast stretched, so that colour always means the
explanation and dark or pale pictures stay legible. A map is blended more strongly where its value
is further from neutral. Sets of pixels keep the picture's own colours; what they leave out is grey
and dimmed, and each has an outline and a number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from xaiserve.report.badges import Badge, draw_badges
from xaiserve.report.colours import HEAT, SIGNED, Rgb, coloured, outline_colour
from xaiserve.report.drawing import (
    Picture,
    beside,
    colour_bar,
    framed,
    key_line,
    stacked,
    text_block,
)
from xaiserve.report.painting import (
    Values,
    enlarged,
    greyed,
    greyed_array,
    outline,
    panel_size,
    resampling,
    resized,
)
from xaiserve.types import Region, Saliency

GAP_PX: Final = 10

ACROSS: Final = 4
"""A method's own panels in a row."""

_TRUTH: Final[Rgb] = (255, 255, 255)
_FEW: Final = 1e-3
_MOST: Final = 0.995


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outlined:
    """A set of pixels to be outlined, and its line in the legend."""

    mask: Region
    caption: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What the colours of a panel mean: ``anchors`` from the value ``low`` to ``high``."""

    anchors: tuple[Rgb, ...]
    low: str
    high: str


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Panel:
    """A picture of a method's own, and what stands above and below it."""

    title: str
    picture: Picture
    caption: str
    scale: Scale | None = None

    def scaled(self) -> Picture:
        """Return the picture with its colour scale below."""
        if self.scale is None:
            return self.picture
        width, scale = self.picture.width, self.scale
        bar = colour_bar(scale.anchors, scale.low, scale.high, width, _text_px(width))
        return stacked([self.picture, bar], GAP_PX // 2)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sketch:
    """What is drawn for one explanation; all parts have one size (h, w).

    Parameters
    ----------
    picture
        RGB.
    saliency
        Finite values, any range.
    unit
        What the map's numbers mean.
    sets
        Sets of pixels to outline; none for a method without such sets.
    without_sets
        What the legend says where there could be sets and are none.
    truth
        Ground truth, outlined in white over the map.
    panels
        What the method brings itself, to be drawn instead of map and sets; see
        `xaiserve.report.presenting`.
    """

    picture: Picture
    saliency: Saliency
    unit: str
    sets: tuple[Outlined, ...] | None = None
    without_sets: str = "no set of pixels was found"
    truth: Region | None = None
    panels: tuple[Panel, ...] = ()


def draw(found: Sketch) -> Picture:
    """Draw the panels of a sketch beside each other, each above its legend."""
    if found.panels:
        return framed(_sheet(found.panels), GAP_PX)
    heat = heat_panel(found)
    panels = [stacked([heat, _heat_legend(found, heat.width)], GAP_PX)]
    if found.sets is not None:
        panels.append(stacked([sets_panel(found), _sets_legend(found, heat.width)], GAP_PX))
    return framed(beside(panels, 2 * GAP_PX), GAP_PX)


def _sheet(panels: Sequence[Panel]) -> Picture:
    """Draw a method's own panels, `ACROSS` in a row."""
    drawn = [_with_words(panel) for panel in panels]
    rows = [drawn[start : start + ACROSS] for start in range(0, len(drawn), ACROSS)]
    return stacked([beside(row, 2 * GAP_PX) for row in rows], 2 * GAP_PX)


def _with_words(panel: Panel) -> Picture:
    width = panel.picture.width
    size = _text_px(width)
    title = text_block(panel.title, width, size + 2)
    return stacked([title, panel.scaled(), text_block(panel.caption, width, size)], GAP_PX // 2)


def _heat_legend(found: Sketch, width_px: int) -> Picture:
    size = _text_px(width_px)
    low, high = float(found.saliency.min()), float(found.saliency.max())
    if low == high:  # no colour to explain, and no largest value to be 1
        parts = [text_block(f"the map is flat: {low:.3g} everywhere", width_px, size)]
    else:
        parts = [text_block(found.unit, width_px, size), _bar(found.saliency, width_px, size)]
    if found.truth is not None:
        parts.append(key_line("ground truth", _TRUTH, width_px, size))
    return stacked(parts)


def _bar(saliency: Saliency, width_px: int, size: int) -> Picture:
    low, high = _ends(saliency)
    anchors = SIGNED if is_signed(saliency) else HEAT
    more = "over " * (high < float(saliency.abs().max()))
    return colour_bar(anchors, _end(low, high), more + _end(high, low), width_px, size)


def _end(value: float, other: float) -> str:
    """Write an end of the scale; beside the other end, a thousandth of it is 0."""
    return "0" if abs(value) < abs(other) / 1000 else f"{value:.3g}"


def _sets_legend(found: Sketch, width_px: int) -> Picture:
    size = _text_px(width_px)
    if not found.sets:
        return text_block(found.without_sets, width_px, size)
    lines = [
        key_line(f"{index + 1}: {one.caption}", outline_colour(index), width_px, size)
        for index, one in enumerate(found.sets)
    ]
    return stacked([text_block("enough alone to keep the decision:", width_px, size), *lines])


def _text_px(width_px: int) -> int:
    return max(14, width_px // 30)


def heat_panel(found: Sketch) -> Picture:
    """Blend the coloured map over the grey picture, without a legend."""
    size = panel_size(found.picture)
    grey = greyed(resized(found.picture, size), low=60, high=200)
    values = _scaled(found.saliency)
    level = PillowImage.fromarray(values).resize(size, resampling(found.picture))
    values = np.asarray(level)
    signed = is_signed(found.saliency)
    strength = np.abs(values - 0.5) * 2 if signed else values
    share = (0.8 * np.sqrt(strength))[..., None]
    colours = coloured(values, SIGNED if signed else HEAT)
    blended = grey * (1 - share) + colours * share
    if found.truth is not None:
        outline(blended, enlarged(found.truth, size), _TRUTH)
    return PillowImage.fromarray(blended.round().astype(np.uint8))


def sets_panel(found: Sketch) -> Picture:
    """Show the sets in the picture's own colours, outlined and numbered, the rest dimmed."""
    size = panel_size(found.picture)
    own = np.asarray(resized(found.picture, size)).astype(np.float32)
    masks = [enlarged(one.mask, size) for one in found.sets or ()]
    inside = np.any(masks, axis=0) if masks else np.zeros(own.shape[:2], dtype=np.bool_)
    values: Values = np.where(inside[..., None], own, greyed_array(own, low=25, high=110))
    for index, mask in enumerate(masks):
        outline(values, mask, outline_colour(index))
    panel = PillowImage.fromarray(values.round().astype(np.uint8))
    draw_badges(
        panel,
        [
            Badge(number=index + 1, mask=mask, colour=outline_colour(index))
            for index, mask in enumerate(masks)
        ],
    )
    return panel


def is_signed(saliency: Saliency) -> bool:
    """Say whether a map also speaks against: its scale is then symmetric about 0."""
    return bool((saliency < 0).any())


def _scaled(saliency: Saliency) -> npt.NDArray[np.float32]:
    """Bring a map to [0, 1]: from its least to its largest value, or 0.5 at zero when signed."""
    low, high = _ends(saliency)
    if high <= low:
        return np.zeros(saliency.shape, dtype=np.float32)
    return ((saliency.numpy() - low) / (high - low)).clip(0.0, 1.0).astype(np.float32)


def _ends(saliency: Saliency) -> tuple[float, float]:
    """Return the ends of the scale.

    Where a handful of pixels tower above all others (per-pixel gradients), the upper end is what
    99.5 % of the pixels stay below, or the rest would be invisible.
    """
    sizes = np.abs(saliency.numpy())
    high = float(sizes.max())
    if float((sizes > high / 2).mean()) < _FEW:
        high = float(np.quantile(sizes, _MOST)) or high
    return (-high, high) if is_signed(saliency) else (float(saliency.min()), high)
