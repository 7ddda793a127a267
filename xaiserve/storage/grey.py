"""Grey pictures of more than 8 bits, scaled to [0, 1]: the normal case in medicine."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from xaiserve.errors import InvalidInputError

DEEP_MODES: Final = frozenset({"I;16", "I;16L", "I;16B", "I;16N", "I", "F"})
"""Pillow's modes of one channel with more than 8 bits."""

Deep = (
    npt.NDArray[np.uint16]
    | npt.NDArray[np.int32]
    | npt.NDArray[np.uint32]
    | npt.NDArray[np.float32]
)

_BITS, _PHOTOMETRIC, _KIND = 258, 262, 339  # TIFF BitsPerSample, Photometric, SampleFormat
_WHITE_IS_ZERO: Final = 0
_SIGNED: Final = 2


def scale_grey(
    image: Image.Image, value_range: tuple[float, float] | None, notes: list[str]
) -> Image.Image:
    """Scale a picture of a deep mode to mode ``F`` in [0, 1], and note how.

    Parameters
    ----------
    image
        Loaded, and still carrying the tags of its file (a transposed copy does not).
    value_range
        The (low, high) that become 0 and 1; values outside are clipped and counted in ``notes``.
        By default the range of the file's data type, and (0, 1) for floats. See `check_range`.

    Raises
    ------
    InvalidInputError
        A pixel is NaN or infinite.
    """
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {})  # Any: TIFF values of many types
    values, whole = _as_stored(image, tags)
    low, high = value_range or whole
    missing = int((~np.isfinite(values)).sum())
    if missing:
        raise InvalidInputError(
            f"image must hold finite numbers, got NaN or infinity ({missing} of {values.size} "
            "pixels)"
        )
    notes.append(f"grey values {low:g} to {high:g} were scaled to 0 to 1")
    outside = int(((values < low) | (values > high)).sum())
    if outside:
        notes.append(f"{outside} pixels outside {low:g} to {high:g} were clipped")
    # Double precision: float32 cannot tell neighbouring 32-bit integers apart.
    scaled = (np.clip(values.astype(np.float64), low, high) - low) / (high - low)
    # Pillow inverts such pictures of 8 bits on reading, but not deeper ones.
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        notes.append("the file's white is 0; grey values were inverted")
        scaled = 1 - scaled
    return Image.fromarray(scaled.astype(np.float32))


def _as_stored(image: Image.Image, tags: Mapping[int, Any]) -> tuple[Deep, tuple[float, float]]:
    """Return the values with the sign they were stored with, and their type's range."""
    values = np.asarray(image)
    if image.mode == "F":
        return values, (0.0, 1.0)
    bits = tags.get(_BITS, (16,))[0]
    if tags.get(_KIND, (1,))[0] == _SIGNED:
        return values, (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
    if bits == 32:  # noqa: PLR2004
        values = values.view(np.uint32)  # Pillow's integers are signed
    return values, (0.0, 2.0**bits - 1)


def check_range(value_range: tuple[float, float]) -> None:
    """Raise `InvalidInputError` unless low and high are finite and low is below high."""
    low, high = value_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InvalidInputError(
            f"value_range must be two finite numbers low,high with low < high, got {low:g},{high:g}"
        )
