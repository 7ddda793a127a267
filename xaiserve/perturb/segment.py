"""Cut a picture into segments: grids and superpixels.

Labels are (h, w) int64, consecutive from 0, every one of them in use.
"""

from typing import Final, Literal, assert_never

import numpy as np
import torch
from skimage import segmentation

from xaiserve.errors import InvalidInputError
from xaiserve.perturb.rng import Keys
from xaiserve.types import Image, Labels

Segmentation = Literal["slic", "quickshift", "felzenszwalb", "grid"]

QUICKSHIFT: Final = {"max_dist": 200, "ratio": 0.2}
QUICKSHIFT_KERNEL_PX: Final = 4.0
"""With the line above the image defaults of the ``lime`` package, 0.2.0.1."""

FELZENSZWALB: Final = {"scale": 200, "sigma": 0.5, "min_size": 100}
"""Gives 41 to 112 segments on photographs of 224 x 224 pixels (measured)."""

SLIC: Final = {"compactness": 10, "sigma": 1}
RGB: Final = 3


def grid_labels(height: int, width: int, cells: int) -> Labels:
    """Tile a picture with ``cells`` x ``cells`` rectangles whose sides differ by at most 1 px.

    Cells are numbered along rows, from the top left.

    Raises
    ------
    InvalidInputError
        If a side has fewer pixels than cells.
    """
    if not 1 <= cells <= min(height, width):
        raise InvalidInputError(
            f"cells must be from 1 to the image's shorter side ({min(height, width)}), got {cells}"
        )
    row = torch.arange(height) * cells // height
    column = torch.arange(width) * cells // width
    return row[:, None] * cells + column


def superpixels(
    image: Image,
    method: Segmentation,
    *,
    segments: int,
    keys: Keys,
    kernel_px: float = QUICKSHIFT_KERNEL_PX,
) -> Labels:
    """Cut ``image`` into regions of similar colour.

    Parameters
    ----------
    image
        (c, h, w) in [0, 1]; a grey one is treated as RGB with equal channels.
    method
        ``slic`` aims at ``segments`` regions, ``grid`` at as many rectangles; ``quickshift`` and
        ``felzenszwalb`` choose the number themselves, with `QUICKSHIFT` and `FELZENSZWALB`.
    segments
        About how many regions, at least 1.
    keys
        Seeds the noise by which quickshift breaks ties; the others draw nothing.
    kernel_px
        Width of quickshift's density kernel: wider makes fewer segments and takes longer.
    """
    _, height, width = image.shape
    if method == "grid":
        cells = min(max(1, round(segments**0.5)), height, width)
        return grid_labels(height, width, cells)
    picture = image.expand(RGB, -1, -1).permute(1, 2, 0).double().numpy()
    match method:
        case "slic":
            found = segmentation.slic(picture, n_segments=segments, start_label=0, **SLIC)
        case "quickshift":
            (seed,) = keys.below(2**31)
            found = segmentation.quickshift(  # type: ignore[no-untyped-call]
                picture, rng=seed, kernel_size=kernel_px, **QUICKSHIFT
            )
        case "felzenszwalb":
            found = segmentation.felzenszwalb(picture, **FELZENSZWALB)
        case _:
            assert_never(method)
    return consecutive(found)


def consecutive(found: np.ndarray) -> Labels:
    """Renumber the values of an integer array (h, w) from 0, in ascending order, without gaps."""
    _, labels = np.unique(found, return_inverse=True)
    return torch.from_numpy(labels.reshape(found.shape).astype(np.int64))


def segment_count(labels: Labels) -> int:
    """Count the segments of consecutive labels."""
    return int(labels.max()) + 1
