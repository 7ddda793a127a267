"""The panels of a CLEAR report: image, contrast, difference, segments, and what flips it."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from PIL import Image as PillowImage

from xaiserve.explainers.clear_image.parts import Counterfactual, Segment
from xaiserve.explainers.clear_image.results import ClearExplanation
from xaiserve.models.frame import Frame
from xaiserve.report.badges import Badge, Shape, draw_badges
from xaiserve.report.clear.words import contrast_name, listed
from xaiserve.report.colours import AGAINST, FOR, HEAT, INFLUENCE, OUTLINES, Rgb, coloured
from xaiserve.report.drawing import Picture, to_picture
from xaiserve.report.painting import (
    Mask,
    enlarged,
    greyed,
    outline,
    panel_size,
    resampling,
    resized,
    to_panel,
    trace,
)
from xaiserve.report.panels import Panel, Scale
from xaiserve.types import Labels, Region, Saliency

SEGMENTS_PLACE: Final = 3
"""Among the panels."""

COUNTERFACTUALS: Final = 4
"""Pictures of counterfactuals, fewest segments first; all are in the table."""

SILENT: Final[Rgb] = (150, 150, 150)
"""Outline of a segment that the regression gives no weight."""

_WHITE: Final[Rgb] = (255, 255, 255)
_LEAST: Final = 0.35
"""Strength of colour of a segment that hardly weighs: the eye must tell its sign."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Placed:
    """An explanation in the pixels of the picture that is drawn on."""

    picture: Picture
    contrast: Picture
    difference: Saliency
    labels: Labels


def panels(
    found: ClearExplanation, picture: Picture, *, frame: Frame | None, truth: Region | None
) -> tuple[Panel, ...]:
    """Draw; see `xaiserve.report.presenting.Presenter.panels`."""
    placed = _placed(found, picture, frame)
    size = panel_size(picture)
    image = Panel(
        title="image",
        picture=resized(picture, size),
        caption=f"the model gives {found.p1:.3f}",
    )
    contrast = Panel(
        title="contrast picture",
        picture=resized(placed.contrast, size),
        caption=(
            f"{contrast_name(found.contrast_provider, found.contrast_notes)}; the model gives "
            f"{found.p0:.3f}"
        ),
    )
    return (
        image,
        contrast,
        _difference(found, placed, size),
        _segments(found, placed, size, truth),
        *(_flipped(one, found, placed, size) for one in found.counterfactuals[:COUNTERFACTUALS]),
    )


def hybrid(picture: Picture, contrast: Picture, replaced: Region) -> Picture:
    """Show the contrast where a segment is replaced, and the picture elsewhere."""
    values = np.where(replaced.numpy()[..., None], np.asarray(contrast), np.asarray(picture))
    return PillowImage.fromarray(values)


def _placed(found: ClearExplanation, picture: Picture, frame: Frame | None) -> _Placed:
    contrast, difference = found.contrast.float() / 255, found.difference.float() / 255
    labels = found.labels
    if frame is not None:
        contrast = torch.stack([frame.to_original(channel) for channel in contrast])
        difference = frame.to_original(difference)
        labels = sum(
            (one.id * frame.mask_to_original(found.labels == one.id) for one in found.segments),
            torch.zeros(difference.shape, dtype=torch.int64),
        )
    return _Placed(
        picture=picture, contrast=to_picture(contrast), difference=difference, labels=labels
    )


def _difference(found: ClearExplanation, placed: _Placed, size: tuple[int, int]) -> Panel:
    top = float(placed.difference.max())
    values = (placed.difference / max(top, 1 / 255)).numpy().astype(np.float32)
    level = PillowImage.fromarray(values).resize(size, resampling(placed.picture))
    return Panel(
        title="difference",
        picture=PillowImage.fromarray(coloured(np.asarray(level), HEAT)),
        caption=(
            "between image and contrast picture, 1 being black against white; "
            f"{found.leakage:.0%} of it lies outside all segments"
        ),
        scale=Scale(anchors=HEAT, low="0", high=f"{top:.2f}"),
    )


def _segments(
    found: ClearExplanation, placed: _Placed, size: tuple[int, int], truth: Region | None
) -> Panel:
    values = greyed(resized(placed.picture, size), low=50, high=205)
    top = max(abs(one.importance) for one in found.segments) or 1.0
    shown = [one for one in found.segments if one.id != 0]
    masks = {one.id: enlarged(placed.labels == one.id, size) for one in shown}
    for one in shown:
        if one.importance:
            values[masks[one.id]] = (values[masks[one.id]] + np.array(_fill(one, top))) / 2
    for one in shown:
        outline(values, masks[one.id], _edge(one), dashed=one.importance < 0)
    if truth is not None:
        outline(values, enlarged(truth, size), _WHITE)
    panel = to_panel(values)
    draw_badges(panel, [_badge(one, masks[one.id]) for one in shown])
    return Panel(
        title="segments",
        picture=panel,
        caption=_legend(found, truth),
        scale=Scale(anchors=INFLUENCE, low=f"against {-top:.2g}", high=f"for {top:+.2g}"),
    )


def _badge(one: Segment, mask: Mask) -> Badge:
    shape: Shape = "square" if one.importance < 0 else "circle"
    return Badge(number=one.id, mask=mask, colour=_edge(one), shape=shape)


def _fill(one: Segment, top: float) -> Rgb:
    strength = _LEAST + (1 - _LEAST) * abs(one.importance) / top
    place = np.array([[0.5 + np.sign(one.importance) * strength / 2]], dtype=np.float32)
    red, green, blue = coloured(place, INFLUENCE)[0, 0].tolist()
    return red, green, blue


def _edge(one: Segment) -> Rgb:
    if not one.importance:
        return SILENT
    return FOR if one.importance > 0 else AGAINST


def _legend(found: ClearExplanation, truth: Region | None) -> str:
    """Explain the signs, as far as they occur."""
    weights = [one.importance for one in found.segments if one.id]
    background = next((one.importance for one in found.segments if one.id == 0), 0.0)
    lines = [
        (any(weight > 0 for weight in weights), "orange, round number: speaks for the class"),
        (any(weight < 0 for weight in weights), "blue, dashed, square number: against it"),
        (not all(weights), "grey outline: has no weight in the regression"),
        (background != 0, f"the background, not coloured, weighs {background:+.2g}"),
        (truth is not None, "white outline: ground truth"),
    ]
    return "; ".join(line for holds, line in lines if holds)


def _flipped(
    one: Counterfactual, found: ClearExplanation, placed: _Placed, size: tuple[int, int]
) -> Panel:
    replaced = torch.isin(placed.labels, torch.tensor(one.segments))
    shown = resized(hybrid(placed.picture, placed.contrast, replaced), size)
    values = np.asarray(shown).astype(np.float32)
    trace(values, enlarged(replaced, size), OUTLINES[0])
    numbers = listed([str(each) for each in one.segments])
    return Panel(
        title=f"{numbers} replaced",
        picture=to_panel(values),
        caption=(
            f"{found.p1:.3f} becomes {one.p:.3f}; predicted {one.p_regression:.3f}, "
            f"error {one.fidelity_error:.3f}"
        ),
    )
