"""What is refused before, or with, the first question; see `errors` for who can act on it."""

from typing import Final

import torch

from xaiserve.errors import ClassifierFaultError, InvalidInputError, NoExplanationError
from xaiserve.explainers.clear_image.masks import grid_counts
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.perturb.case import Case, Contrast
from xaiserve.types import Image, Scores

LEAST_SIDE_PX: Final = 32
BEYOND: Final = 1e-6
LEVEL: Final = 1 / 255
SUM_TOLERANCE: Final = 1e-3
SAME_TWICE: Final = 1e-4
IN_COMPANY: Final = 0.05
"""Fewer bits move a probability by less (`models.precision`); normalising by the batch, by more."""

CHANNELS: Final = (1, 3)


def checked_contrast(case: Case) -> Contrast:
    """Return the case's contrast picture after checking both pictures.

    Raises
    ------
    InvalidInputError
        There is no contrast, or a picture has a wrong size, channels, range or no content.
    NoExplanationError
        Both are equal (``blank_contrast``).
    """
    contrast = case.contrast
    if contrast is None:
        raise InvalidInputError(
            "clear-image compares the image with a contrast picture, and there is none: name a "
            "translator, or where contrast pictures come from"
        )
    _check_picture("image", case.image)
    _check_picture(f"contrast picture ({contrast.provider})", contrast.image)
    if contrast.image.shape != case.image.shape:
        raise InvalidInputError(
            f"the contrast picture is {_size(contrast.image)} and the image {_size(case.image)}: "
            "both must have the same size and channels"
        )
    if case.image.max() - case.image.min() < LEVEL:
        raise InvalidInputError(
            f"the image is one even colour (values differ by less than 1/255, at "
            f"{float(case.image.mean()):.3f}): there is nothing to explain"
        )
    largest = float((case.image - contrast.image).abs().max())
    if largest < LEVEL:
        raise NoExplanationError(
            f"the contrast picture equals the image (largest difference {largest:.2g}, below "
            "1/255): choose another contrast (blank_contrast)"
        )
    return contrast


def _check_picture(what: str, picture: Image) -> None:
    if not bool(torch.isfinite(picture).all()):
        raise InvalidInputError(f"the {what} holds NaN or infinite values")
    low, high = float(picture.min()), float(picture.max())
    if low < -BEYOND or high > 1 + BEYOND:
        raise InvalidInputError(
            f"the {what} must lie in [0, 1], has values from {low:.6g} to {high:.6g}"
        )
    if len(picture) not in CHANNELS:
        raise InvalidInputError(f"the {what} must have 1 or 3 channels, has {len(picture)}")
    if min(picture.shape[1:]) < LEAST_SIDE_PX:
        raise InvalidInputError(
            f"the {what} must have sides of at least {LEAST_SIDE_PX} pixels, is {_size(picture)}"
        )


def _size(picture: Image) -> str:
    channels, height, width = picture.shape
    return f"{height}x{width} with {channels} channel{'' if channels == 1 else 's'}"


def check_budget(segments: int, options: ClearOptions) -> None:
    """Refuse a search whose worst case asks about more masks than it may.

    Raises
    ------
    InvalidInputError
        The message counts the masks by depth.
    """
    counts = grid_counts(segments, options.depth)
    total = sum(counts) + options.samples
    if options.max_queries is not None and total > options.max_queries:
        depths = ", ".join(f"{count} of {size}" for size, count in enumerate(counts, 1))
        raise InvalidInputError(
            f"{segments} segments may need {total} masks ({depths} replaced, {options.samples} "
            f"random), over max_queries ({options.max_queries}): lower depth, cut coarser, or "
            "raise max_queries"
        )


def check_scores(scores: Scores, case: Case) -> None:
    """Check the first answer: image and contrast alone, the image alone again, both in company.

    Raises
    ------
    ClassifierFaultError
        The scores are no probabilities, or change from one time to the next.
    InvalidInputError
        The target is no class of the model.
    """
    classes = scores.shape[1]
    if not 0 <= case.target < classes:
        raise InvalidInputError(
            f"target must be a class index from 0 to {classes - 1}, got {case.target}"
        )
    low, high = float(scores.min()), float(scores.max())
    if not (low >= -BEYOND and high <= 1 + BEYOND):
        raise ClassifierFaultError(
            f"the model's scores must be probabilities, go from {low:.4g} to {high:.4g}: state its "
            "activation in xaiserve.json"
        )
    sums = scores.sum(dim=1)
    furthest = float(sums[(sums - 1).abs().argmax()])
    if not case.rule.thresholds and abs(furthest - 1) > SUM_TOLERANCE:
        raise ClassifierFaultError(
            f"the model's scores must sum to 1, sum to {furthest:.4f}: state its activation, or "
            "thresholds if it is a multi-label model"
        )
    again = float((scores[0] - scores[2]).abs().max())
    beside = float((scores[:2] - scores[3:]).abs().max())
    if again > SAME_TWICE or beside > IN_COMPANY:
        raise ClassifierFaultError(
            f"the model answers differently for the same image (by {max(again, beside):.2g}): put "
            "it in evaluation mode, so that dropout and batch statistics are off"
        )
