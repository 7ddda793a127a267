"""Pictures as callers have them: paths, bytes, arrays, Pillow's."""

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from xaiserve.errors import InvalidInputError

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

Picture = Union[str, Path, bytes, NDArray[np.uint8], "PillowImage"]
"""A file's path or bytes; or pixels, (h, w) or (h, w, 3) of 8 bits, or Pillow's image."""


def file_of(picture: Picture) -> tuple[str, bytes]:
    """Return a name and a file's bytes; pixels become a PNG.

    Raises
    ------
    InvalidInputError
        The file cannot be read, or the array is something else.
    """
    if isinstance(picture, bytes):
        return "image", picture
    if isinstance(picture, str | Path):
        path = Path(picture)
        try:
            return path.name, path.read_bytes()
        except OSError as error:
            raise InvalidInputError(f"image {path} cannot be read: {error.strerror}") from error
    return "image.png", _png(picture)


def _png(picture: Any) -> bytes:  # Any: an array or Pillow's image
    # Here, because paths and bytes need no Pillow.
    from PIL import Image  # noqa: PLC0415

    if isinstance(picture, np.ndarray):
        grey_or_rgb = picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)  # noqa: PLR2004 -- axes
        if picture.dtype != np.uint8 or not grey_or_rgb or not picture.size:
            raise InvalidInputError(
                "an array must be uint8 of shape (h, w) or (h, w, 3), got "
                f"{picture.dtype} {picture.shape}"
            )
        picture = Image.fromarray(picture)
    if not isinstance(picture, Image.Image):
        raise InvalidInputError(
            "a picture must be a path, bytes, a uint8 array or an image of Pillow, got "
            f"{type(picture).__name__}"
        )
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
