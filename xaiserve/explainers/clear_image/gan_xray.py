"""The segmenter for chest X-rays: strong differences, and weak but extended ones.

The steps are those of the authors' released code; what ``strict`` mends is said where it is done.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy import ndimage

from xaiserve.explainers.clear_image.cut import (
    Cut,
    Grey,
    Mask,
    Numbers,
    components,
    nothing_differs,
)
from xaiserve.explainers.clear_image.felzenszwalb import coarsened
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.parts import Segmentation, SegmentKind

TRIES: Final = 5
STEP: Final = 0.05
ERODED_MIN_SHARE: Final = 0.8
"""Of the smallest area, what a part must still have after erosion."""

KEPT_SHARE: Final = 0.7
"""Erosion with a smaller disk follows where one leaves less."""

RADIUS_PX: Final = 2.2
SHRINK: Final = 0.9
PASSES: Final = 100
LARGE_PX: Final = 1000
SCALE: Final = 25.0
OTHER_STEP_PX: Final = 100
FRAME_PX: Final = 8
"""Pixels of the outside that go with the largest parts, so that it stays one part of its own."""


def gan_xray(difference: Grey, contrast: Grey, options: ClearOptions, retries: int) -> Cut:
    """Cut by difference; each retry lowers the numbers of parts by 3 and by 2.

    Raises
    ------
    NoExplanationError
        Nothing differs.
    """
    parity, least = options.mode == "parity", options.xray_min_area_px
    most, most_other = _limits(options, retries)
    high, threshold = _high(difference, options)
    low: Mask = (difference > options.low_threshold) & (high == 0)
    if not low.any() and (parity or not high.any()):
        raise nothing_differs(difference, options.low_threshold)
    blobs = _blobs(low, least, parity=parity)
    areas = np.bincount(blobs.ravel())
    large = areas > LARGE_PX
    large[0] = False
    pieces = _pieces(contrast, large[blobs], most, least, parity=parity)
    numbers = np.where(high > 0, high + pieces.max(), pieces)
    kinds: list[SegmentKind] = [
        *_kinds("low", int(pieces.max())),
        *_kinds("high", int(high.max())),
    ]
    for blob in _others(areas, _eroded_min(least), most_other, parity=parity):
        kinds.append("low")
        numbers = np.where(blobs == blob, len(kinds), numbers)
    used, consecutive = np.unique(np.append(numbers.ravel(), 0), return_inverse=True)
    return Cut(
        np.asarray(consecutive[:-1].reshape(numbers.shape), dtype=np.int64),
        ("background", *(kinds[number - 1] for number in used.tolist() if number)),
        Segmentation(
            segmenter="gan_xray",
            retries=retries,
            high_threshold=threshold,
            low_threshold=options.low_threshold,
            min_area_px=least,
            max_felzenszwalb=most,
            max_other=most_other,
        ),
    )


def _kinds(kind: SegmentKind, count: int) -> list[SegmentKind]:
    return [kind] * count


def _limits(options: ClearOptions, retries: int) -> tuple[int, int]:
    most, other = options.max_felzenszwalb, options.max_other
    for _ in range(retries):
        most, other = most - 3, other - 2 if other > 1 else other
    return most, other


def _high(difference: Grey, options: ClearOptions) -> tuple[Numbers, float]:
    """Find the strong parts, at the highest of a few thresholds that has any."""
    threshold = options.high_threshold
    found = components(difference > threshold, options.xray_min_area_px)
    for _ in range(TRIES - 1):
        lower = round(threshold - STEP, 10)
        if found.any() or lower <= options.low_threshold:
            break
        threshold = lower
        found = components(difference > threshold, options.xray_min_area_px)
    return found, threshold


def _blobs(low: Mask, least: int, *, parity: bool) -> Numbers:
    """Find the weak parts, thin bridges between them broken."""
    broad: Mask = components(low, least) > 0
    if not broad.any():
        return np.zeros(low.shape, dtype=np.int64)
    eroded: Mask = components(_eroded(broad, parity=parity), _eroded_min(least)) > 0
    kept = components((low & ~broad) | eroded, _eroded_min(least))
    return _given_back(kept, broad & ~eroded)


def _eroded_min(least: int) -> int:
    return round(ERODED_MIN_SHARE * least)


def _eroded(broad: Mask, *, parity: bool) -> Mask:
    """Erode by the largest disk that leaves enough."""
    enough = KEPT_SHARE * broad.sum()
    for disk in _disks(parity=parity):
        found: Mask = ndimage.binary_erosion(broad, disk, border_value=1)
        if found.sum() >= enough:
            return found
    return broad


def _disks(*, parity: bool) -> Iterator[Mask]:
    """Yield disks of 2 and 1 pixels, or for parity the lopsided ones of a fractional radius."""
    radius = RADIUS_PX if parity else 2.0
    while radius >= 1:
        offsets = np.arange(-radius, radius + 1)
        yield np.asarray(offsets[:, None] ** 2 + offsets**2 <= radius**2)
        radius = radius * SHRINK if parity else radius - 1


def _given_back(kept: Numbers, eroded: Mask) -> Numbers:
    """Let eroded pixels off the border join the largest number beside them, ring by ring."""
    width = kept.shape[1]
    beside = np.array([row * width + column for row in (-1, 0, 1) for column in (-1, 0, 1)])
    inner = np.zeros_like(eroded)
    inner[1:-1, 1:-1] = (eroded & (kept == 0))[1:-1, 1:-1]
    numbers, todo = kept.ravel().copy(), np.flatnonzero(inner)
    for _ in range(PASSES):
        largest = numbers[todo[:, None] + beside].max(axis=1, initial=0)
        reached = largest > 0
        if not reached.any():
            break
        numbers[todo[reached]] = largest[reached]
        todo = todo[~reached]
    return numbers.reshape(kept.shape)


def _pieces(contrast: Grey, inside: Mask, most: int, least: int, *, parity: bool) -> Numbers:
    """Cut the largest weak parts by the contrast's grey values, into fewer than ``most``.

    Parity numbers from 0 as the cut does, so that its first part is lost to the background.
    """
    pieces = np.zeros(inside.shape, dtype=np.int64)
    if not inside.any():
        return pieces
    here = _around(inside)
    within = inside[here]
    picture = np.where(within, contrast[here], 0.0)[..., None]

    # Parity counts what is outside, and what parts of it reach inside, as one part each.
    parts, _ = (
        coarsened(picture, most, SCALE, least, parity=True)
        if parity
        else coarsened(picture, most - 1, SCALE, least, within=within)
    )
    pieces[here] = np.where(within, parts if parity else parts + 1, 0)
    return pieces


def _around(inside: Mask) -> tuple[slice, slice]:
    """Frame the True pixels; the rest of the picture is one value and needs no cutting."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return (
        slice(max(0, rows[0] - FRAME_PX), rows[-1] + 1 + FRAME_PX),
        slice(max(0, columns[0] - FRAME_PX), columns[-1] + 1 + FRAME_PX),
    )


def _others(areas: np.ndarray, above: int, most: int, *, parity: bool) -> list[int]:
    """Choose the weak parts that are not cut: the largest, at most about ``most``."""
    ceiling = LARGE_PX - 1 if parity else LARGE_PX
    while True:
        found = 1 + np.flatnonzero((areas[1:] > above) & (areas[1:] <= ceiling))
        if len(found) <= most or above >= LARGE_PX:
            return [int(number) for number in found]
        above += OTHER_STEP_PX
