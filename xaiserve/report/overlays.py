"""`overlay_png`: one explanation drawn over its image."""

import dataclasses
from collections.abc import Mapping
from typing import Final

import numpy as np
from PIL import Image as PillowImage

from xaiserve.explainers.base import Explanation, ShownSet, WithSets
from xaiserve.models.frame import Frame
from xaiserve.perturb.case import Case
from xaiserve.report.drawing import Picture, to_picture
from xaiserve.report.panels import Outlined, Sketch, draw
from xaiserve.report.presenting import presenter_of
from xaiserve.report.shares import share_of
from xaiserve.storage.pictures import encode_png
from xaiserve.types import Region

UNITS: Final[Mapping[str, str]] = {
    "multirex": "causal responsibility, largest = 1",
    "occlusion": "fall of the target's score when hidden",
    "rise": "mean target score where shown",
    "lime": "weight of the segment in the local linear model",
    "kernel-shap": "Shapley value: share of the target's score",
    "grad-cam": "weighted activation of the last feature map",
    "integrated-gradients": "share of the change of the target's output",
    "clear-image": "weight of the segment in the regression, over its area",
    "sag": "how much the mask that orders the patches hides",
}
"""What a map's numbers mean, per method; `OWN_UNIT` for others."""

TRIVIAL: Final = (
    "nothing has to be shown: the model decides for the target on the bare fill (another "
    "baseline may tell more)"
)

NO_SET: Final[Mapping[str, str]] = {
    # A search that comes to its end without one is refused.
    "multirex": "no set of pixels was found before the search was cut short",
}

OWN_UNIT: Final = "saliency in the method's own unit"


def overlay_png(
    case: Case, explanation: Explanation, *, original: PillowImage.Image | None = None
) -> bytes:
    """Draw one explanation as PNG: the map, and beside it the selected sets where there are such.

    Parameters
    ----------
    original
        The picture that ``case`` was made from, upright, as `xaiserve.storage.pictures.decode`
        gives it. With it the explanation is carried back to the original pixels by the case's
        frame; without it the overlay shows what the model saw.
    """
    return encode_png(draw(sketch(case, explanation, original=original)))


def sketch(
    case: Case, explanation: Explanation, *, original: PillowImage.Image | None = None
) -> Sketch:
    """Collect what `xaiserve.report.panels.draw` needs; see `overlay_png`."""
    if original is None:
        own = to_picture(case.image)
        return _with_panels(_sketch(explanation, own), explanation, frame=None)
    if case.frame is None:
        raise ValueError(f"case {case.name or case.image_id} was made without an original picture")
    return over_original(explanation, case.frame, original)


def over_original(
    explanation: Explanation,
    frame: Frame,
    original: PillowImage.Image,
    truth: Region | None = None,
) -> Sketch:
    """Carry an explanation, and ``truth`` at the model's size, to the pixels of their picture."""
    found = _sketch(explanation, rgb(original))
    sets = found.sets and tuple(
        Outlined(mask=frame.mask_to_original(one.mask), caption=one.caption) for one in found.sets
    )
    found = dataclasses.replace(
        found,
        saliency=frame.to_original(found.saliency),
        sets=sets,
        truth=None if truth is None else frame.mask_to_original(truth),
    )
    return _with_panels(found, explanation, frame=frame)


def _with_panels(found: Sketch, explanation: Explanation, *, frame: Frame | None) -> Sketch:
    presenter = presenter_of(explanation)
    if presenter is None:
        return found
    own = presenter.panels(explanation, found.picture, frame=frame, truth=found.truth)
    return dataclasses.replace(found, panels=own)


def _sketch(explanation: Explanation, picture: Picture) -> Sketch:
    found = Sketch(
        picture=picture,
        saliency=explanation.saliency,
        unit=UNITS.get(explanation.explainer, OWN_UNIT),
    )
    if not isinstance(explanation, WithSets):
        return found
    chosen = [explanation.explanations[index] for index in explanation.selected]
    return dataclasses.replace(
        found,
        # The empty set of a trivial explanation has nothing to outline.
        sets=tuple(Outlined(mask=one.mask, caption=_caption(one)) for one in chosen if one.area_px),
        without_sets=TRIVIAL
        if explanation.trivial
        else NO_SET.get(explanation.explainer, found.without_sets),
    )


def _caption(one: ShownSet) -> str:
    size = share_of(one.area_fraction)
    return f"{size} of the model's picture, alone scored {one.confidence:.3f}"


def rgb(picture: PillowImage.Image) -> Picture:
    """Turn a decoded picture (RGB, L, or F in [0, 1]) into RGB of 8 bits."""
    if picture.mode == "F":
        picture = PillowImage.fromarray((np.asarray(picture) * 255).round().astype(np.uint8))
    return picture.convert("RGB")
