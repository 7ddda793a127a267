"""Sets of pixels as run lengths, in the form COCO's tools read and write.

``counts`` is COCO's compressed text: run lengths in column order, starting with the zeros.
"""

from typing import TypedDict

import numpy as np
import torch
from pycocotools import mask as coco

from xaiserve.errors import InvalidInputError
from xaiserve.storage.runs import runs_of
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
        The counts do not fill the size exactly.
    """
    height, width = rle["size"]
    runs = runs_of(rle["counts"])
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise InvalidInputError(
            f"mask_rle must fill {height}x{width} = {height * width} pixels, got {rle['counts']!r}"
        )
    # The runs alternate, zeros first, down the columns.
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)
    return torch.from_numpy(np.ascontiguousarray(columns.T))
