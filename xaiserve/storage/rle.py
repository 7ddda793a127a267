"""Sets of pixels as run lengths, in the form COCO's tools read and write.

``counts`` is COCO's compressed text: run lengths in column order, starting with the zeros.
"""

from typing import TypedDict

import numpy as np
import torch
from pycocotools import mask as coco

from xaiserve.errors import InvalidInputError
from xaiserve.types import Region

_DIGIT, _NEGATIVE, _MORE = 0x1F, 0x10, 0x20  # bits of a character less 48


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
    runs = _runs(rle["counts"])
    if min(runs, default=0) < 0 or sum(runs) != height * width:
        raise InvalidInputError(
            f"mask_rle must fill {height}x{width} = {height * width} pixels, got {rle['counts']!r}"
        )
    # The runs alternate, zeros first, down the columns.
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)
    return torch.from_numpy(np.ascontiguousarray(columns.T))


def _runs(counts: str) -> list[int]:
    """Undo COCO's text: base 32, least digit first, each run from the fourth as a difference.

    Not pycocotools' own decoder: it fills a mask whose counts stop early with whatever was in
    memory, and calls numpy in a way that numpy has deprecated.
    """
    runs: list[int] = []
    value = digits = 0
    for code in counts.encode("ascii", "replace"):
        digit = code - 48
        value |= (digit & _DIGIT) << (5 * digits)
        digits += 1
        if not digit & _MORE:
            if digit & _NEGATIVE:
                value -= 1 << (5 * digits)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))  # noqa: PLR2004
            value = digits = 0
    return runs
