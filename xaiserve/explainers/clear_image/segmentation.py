"""How image and contrast are cut into segments: the difference of both, or superpixels."""

from collections.abc import Mapping
from typing import Final, assert_never

import numpy as np
import torch
from scipy import ndimage
from skimage import segmentation

from xaiserve.errors import InvalidInputError, NoExplanationError
from xaiserve.explainers.clear_image.cut import Cut, Grey, Mask, Numbers, components
from xaiserve.explainers.clear_image.felzenszwalb import coarsened
from xaiserve.explainers.clear_image.gan_xray import gan_xray
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.parts import Segmentation, SegmentKind
from xaiserve.perturb.case import Case
from xaiserve.perturb.rng import Keys
from xaiserve.types import Image, Labels

CROSS: Final = ndimage.generate_binary_structure(2, 1)
GREY: Final = (0.2125, 0.7154, 0.0721)
"""Luminance of RGB (ITU-R BT.709)."""

MOST_SUPERPIXELS: Final = 16
MIN_AREA_PX: Final = 250
SCALE: Final = 25.0
RETRY_ABOVE: Final = 7
"""A cut whose ``max_felzenszwalb`` is not above this is not made coarser."""


def difference_map(image: Image, contrast: Image, *, parity: bool) -> Grey:
    """Take the absolute difference of the grey pictures (h, w).

    Parity takes the image's first channel for its grey picture, which is the same for grey images.
    """
    own = _first(image) if parity else grey(image)
    return np.asarray(np.abs(own - grey(contrast)))


def grey(image: Image) -> Grey:
    """Turn a picture (c, h, w) grey; one whose channels are equal keeps its values exactly."""
    if bool((image == image[:1]).all()):
        return _first(image)
    weights = torch.tensor(GREY, dtype=torch.float64)
    return np.asarray(torch.tensordot(weights, image.double(), 1).numpy())


def _first(image: Image) -> Grey:
    return np.asarray(image[0].double().numpy())


def cut(case: Case, contrast: Image, options: ClearOptions, keys: Keys, retries: int = 0) -> Cut:
    """Cut the pictures as the options say; ``retries`` asks for so many coarser ones in turn.

    Raises
    ------
    NoExplanationError
        Nothing differs (``blank_contrast``), or no segment is large enough (``no_segments``).
    InvalidInputError
        A supplied map has gaps, a wrong size or too many segments.
    """
    parity = options.mode == "parity"
    difference = difference_map(case.image, contrast, parity=parity)
    match options.segmenter:
        case "gan_diff":
            found = gan_diff(
                difference, options.diff_threshold, min_area_px=options.diff_min_area_px
            )
        case "gan_xray":
            found = gan_xray(difference, grey(contrast), options, retries)
        case "felzenszwalb" | "quickshift":
            found = superpixels(case.image, options, keys)
        case "supplied":
            found = supplied(case)
        case _:
            assert_never(options.segmenter)
    _check_count(found, difference, options)
    return found


def can_retry(found: Cut) -> bool:
    """Say whether a coarser cut can be made: `gan_xray` only, while its limits are high."""
    limit = found.how.max_felzenszwalb
    return limit is not None and limit > RETRY_ABOVE


def gan_diff(difference: Grey, threshold: float, *, min_area_px: int) -> Cut:
    """Threshold, dilate by a cross of 5 pixels, and keep the parts of enough pixels."""
    strong: Mask = difference > threshold
    numbers = components(ndimage.binary_dilation(strong, CROSS), min_area_px)
    return Cut(
        numbers,
        _kinds("high", int(numbers.max())),
        Segmentation(segmenter="gan_diff", high_threshold=threshold, min_area_px=min_area_px),
    )


def superpixels(image: Image, options: ClearOptions, keys: Keys) -> Cut:
    """Cut the image alone, for ablation; the background is empty.

    In parity the first superpixel is the background, as the released code has it.
    """
    picture = image.expand(3, -1, -1).permute(1, 2, 0).double().numpy()
    if options.segmenter == "felzenszwalb":
        found, min_area = coarsened(
            picture, MOST_SUPERPIXELS, SCALE, MIN_AREA_PX, parity=options.mode == "parity"
        )
        how = Segmentation(segmenter="felzenszwalb", min_area_px=min_area)
    else:
        (seed,) = keys.below(2**31)
        found = segmentation.quickshift(  # type: ignore[no-untyped-call]
            picture, kernel_size=20, max_dist=10, ratio=2, rng=seed
        )
        how = Segmentation(segmenter="quickshift")
    numbers = _consecutive(found) + (0 if options.mode == "parity" else 1)
    return Cut(numbers, _kinds("superpixel", int(numbers.max())), how)


def supplied(case: Case) -> Cut:
    """Take the case's own label map, 0 being the background."""
    if case.labels is None:
        raise InvalidInputError(
            "segmenter is supplied and the case has no label map: set Case.labels, or choose "
            "another segmenter"
        )
    labels: Labels = case.labels
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise InvalidInputError(f"the label map must hold integers, got {labels.dtype}")
    if tuple(labels.shape) != (case.height, case.width):
        raise InvalidInputError(
            f"the label map must have the image's size, {case.height}x{case.width}, got "
            f"{'x'.join(map(str, labels.shape))}"
        )
    known = torch.unique(labels).tolist()
    if known != list(range(len(known))):
        raise InvalidInputError(
            f"labels must be 0 to n - 1 without gaps, got {len(known)} values from {known[0]} to "
            f"{known[-1]}: renumber them"
        )
    numbers = np.asarray(labels.numpy().astype(np.int64))
    return Cut(numbers, _kinds("supplied", len(known) - 1), Segmentation(segmenter="supplied"))


_REMEDIES: Final[Mapping[str, str]] = {
    "gan_diff": "choose another contrast, or lower diff_threshold or diff_min_area_px",
    "gan_xray": "choose another contrast, or lower low_threshold or xray_min_area_px",
    "felzenszwalb": "choose another segmenter",
    "quickshift": "choose another segmenter",
    "supplied": "give a label map with more than the background",
}


def _check_count(found: Cut, difference: Grey, options: ClearOptions) -> None:
    if found.count < 2:  # noqa: PLR2004
        raise NoExplanationError(
            f"{options.segmenter} found no segment (largest difference {difference.max():.3g}): "
            f"{_REMEDIES[options.segmenter]} (no_segments)"
        )
    if found.count > options.max_segments:
        raise InvalidInputError(
            f"{found.count} segments are more than max_segments ({options.max_segments}): choose a "
            "coarser segmenter, or raise max_segments"
        )


def _kinds(kind: SegmentKind, count: int) -> tuple[SegmentKind, ...]:
    return ("background", *[kind] * count)


def _consecutive(found: Numbers) -> Numbers:
    _, numbers = np.unique(found, return_inverse=True)
    return np.asarray(numbers.reshape(found.shape), dtype=np.int64)
