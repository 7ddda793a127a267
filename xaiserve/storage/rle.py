"""Sets of pixels as run lengths, in the form COCO's tools read and write.

``counts`` is COCO's compressed text: run lengths in column order, starting with the zeros.
"""

from typing import TypedDict

import numpy as np
import torch
from pycocotools import mask as coco

from xaiserve.errors import InvalidInputError
from xaiserve.types import Region


class Rle(TypedDict):
    """One mask, ready for JSON: ``size`` is [height, width]."""

    size: list[int]
    counts: str


def mask_to_rle(mask: Region) -> Rle:
    """Encode a mask (h, w)."""
    height, width = mask.shape
    encoded = coco.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
    return Rle(size=[height, width], counts=encoded["counts"].decode("ascii"))


def rle_to_mask(rle: Rle) -> Region:
    """Decode to (h, w).

    Raises
    ------
    InvalidInputError
        The counts do not fill the size.
    """
    height, width = rle["size"]
    given = {"size": [height, width], "counts": rle["counts"].encode("ascii")}
    try:
        mask = coco.decode(given)
    except ValueError as error:
        raise InvalidInputError(f"mask_rle must fill {height}x{width} pixels: {error}") from error
    # Counts that stop early leave the rest of COCO's buffer as it was: anything.
    if coco.encode(mask)["counts"] != given["counts"]:
        raise InvalidInputError(f"mask_rle must fill {height}x{width} pixels exactly")
    return torch.from_numpy(np.ascontiguousarray(mask).astype(np.bool_))
