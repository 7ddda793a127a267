"""Ground truth that is drawn rather than painted: boxes, polygons and run lengths of COCO."""

import json
import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from xaiserve.errors import InvalidInputError
from xaiserve.storage.manifest import Box
from xaiserve.storage.rle import Rle, rle_to_mask

Mask = npt.NDArray[np.bool_]

_CORNERS: Final = 3
_FARTHEST_PX: Final = 1e6
"""Pictures are smaller; what lies much farther pycocotools draws into memory not its own."""


def boxes_to_mask(boxes: Sequence[Box], height: int, width: int) -> Mask:
    """Fill boxes: every pixel that one touches, (h, w); one without area touches none."""
    mask = np.zeros((height, width), np.bool_)
    for x, y, wide, high in boxes:
        if wide == 0 or high == 0:
            continue
        rows = slice(max(0, math.floor(y)), max(0, math.ceil(y + high)))
        columns = slice(max(0, math.floor(x)), max(0, math.ceil(x + wide)))
        mask[rows, columns] = True
    return mask


def outlines_to_mask(outlines: str, height: int, width: int) -> Mask:
    """Fill a JSON list of COCO segmentations: lists of polygons, or objects of run lengths.

    Raises
    ------
    InvalidInputError
        It is none, or is drawn on a picture of another size.
    """
    mask = np.zeros((height, width), np.bool_)
    try:
        for segmentation in json.loads(outlines):
            mask |= _filled(segmentation, height, width)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise InvalidInputError(
            "outlines must be a JSON list of COCO segmentations, polygons or run lengths, of the "
            f"picture's size, {width}x{height} px: {error}"
        ) from error
    return mask


def _filled(segmentation: object, height: int, width: int) -> Mask:
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"its run lengths are of size {segmentation['size']}")
        if isinstance(segmentation["counts"], str):
            return _decoded(segmentation["counts"], height, width)
        counts = coco.frPyObjects(segmentation, height, width)["counts"]
    elif not isinstance(segmentation, list) or not all(isinstance(p, list) for p in segmentation):
        raise ValueError(f"{segmentation!r} is neither polygons nor run lengths")
    else:
        _check_polygons(segmentation)
        counts = coco.merge(coco.frPyObjects(segmentation, height, width))["counts"]
    return _decoded(counts.decode("ascii"), height, width)


def _check_polygons(polygons: Sequence[Sequence[Any]]) -> None:  # Any: JSON
    for polygon in polygons:
        inside = all(abs(number) <= _FARTHEST_PX for number in polygon)  # NaN is not
        if len(polygon) < 2 * _CORNERS or len(polygon) % 2 or not inside:
            raise ValueError(
                f"a polygon must be x, y of at least {_CORNERS} corners, got {polygon!r:.80}"
            )


def _decoded(counts: str, height: int, width: int) -> Mask:
    return np.asarray(rle_to_mask(Rle(size=[height, width], counts=counts)).numpy())
