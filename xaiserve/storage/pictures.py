"""Pictures of any kind in and out: what is refused, what is converted, and how that is told.

Bytes come from strangers, so size is checked before anything is decoded, and only formats on a
short list are handed to a decoder at all.
"""

import hashlib
import io
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

# Importing a plugin registers its decoder in `Image.OPEN`.
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from xaiserve.errors import InvalidInputError, TooLargeError, UnsupportedMediaError
from xaiserve.storage.grey import DEEP_MODES, check_range, scale_grey
from xaiserve.types import Region

FORMATS: Final = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        GifImagePlugin.GifImageFile,
        BmpImagePlugin.BmpImageFile,
        TiffImagePlugin.TiffImageFile,
        WebPImagePlugin.WebPImageFile,
    )
)
"""The formats that are read: JPEG, PNG, GIF, BMP, TIFF, WEBP."""

_DAMAGE: Final = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, AttributeError),
    *(OverflowError, AssertionError, struct.error, zlib.error),
)
"""What Pillow's decoders raise on bytes that break their format, found by feeding them such."""

_TILE_TAGS: Final = (322, 323)  # TIFF TileWidth, TileLength: memory taken whatever the size is
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

Colour = tuple[int, int, int]
"""Red, green, blue, 0 to 255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLimits:
    """What is refused before it is decoded; each bound is inclusive and at least 1."""

    max_bytes: int = 64 << 20
    max_side: int = 20_000
    max_pixels: int = 50_000_000

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_side", "max_pixels"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def check_bytes(self, data: bytes) -> None:
        """Raise `TooLargeError` for a file over ``max_bytes``."""
        if len(data) > self.max_bytes:
            raise TooLargeError(
                f"image must be at most {self.max_bytes} bytes, got {len(data)} bytes"
            )

    def check_size(self, width: int, height: int) -> None:
        """Raise `TooLargeError` over a side or pixel limit, `InvalidInputError` for no pixels."""
        if min(width, height) < 1:
            raise InvalidInputError(
                f"image must have at least 1 pixel on each side, got {width}x{height}"
            )
        if max(width, height) > self.max_side:
            raise TooLargeError(
                f"image sides must be at most {self.max_side} pixels, got {width}x{height}"
            )
        if width * height > self.max_pixels:
            raise TooLargeError(
                f"image must have at most {self.max_pixels} pixels, "
                f"got {width}x{height} = {width * height}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A decoded picture.

    Parameters
    ----------
    image
        Upright. Mode ``RGB`` or ``L`` (8 bit), or ``F``: grey in [0, 1], from 16-bit, integer and
        float files.
    sha256
        Hexadecimal digest of the file's bytes.
    notes
        One sentence for every conversion that a user might not expect, in order.
    """

    image: Image.Image
    sha256: str
    notes: tuple[str, ...] = ()


DEFAULT_LIMITS: Final = PictureLimits()


def decode(
    data: bytes,
    *,
    limits: PictureLimits = DEFAULT_LIMITS,
    value_range: tuple[float, float] | None = None,
    background: Colour = (255, 255, 255),
) -> Picture:
    """Decode a file into RGB or grey, upright.

    Parameters
    ----------
    data
        The file's bytes.
    limits
        Checked against the bytes and the header, before decoding.
    value_range
        The (low, high) that become 0 and 1 in 16-bit, integer and float grey; values outside are
        clipped and counted in the notes. By default the range of the file's data type, and (0, 1)
        for floats.
    background
        The colour behind transparent pixels.

    Raises
    ------
    TooLargeError
        Over a limit.
    UnsupportedMediaError
        Not one of `FORMATS`, or of a colour mode that has no defined conversion.
    InvalidInputError
        Damaged, truncated, without pixels, holding NaN or infinity, or ``value_range`` is empty.
    """
    if value_range is not None:
        check_range(value_range)  # also when this picture, unlike the next, has no use for it
    loaded, notes = _load(data, limits)
    turn = _turn(loaded, notes)
    if loaded.mode in DEEP_MODES:
        image = scale_grey(loaded, value_range, notes)
    else:
        image = _eight_bit(loaded, background, notes)
        if value_range is not None:
            notes.append("value_range is for 16-bit and float grey and was not applied")
    return Picture(
        image=image if turn is None else image.transpose(turn),
        sha256=hashlib.sha256(data).hexdigest(),
        notes=tuple(notes),
    )


def decode_mask(
    data: bytes, *, instance: int | None = None, limits: PictureLimits = DEFAULT_LIMITS
) -> Region:
    """Decode ground truth: True inside, (h, w), at the file's size.

    Parameters
    ----------
    data
        A picture whose pixels are 0 outside. Of a colour picture, any channel but alpha counts; a
        palette picture is read by its indices.
    instance
        The one value that is inside; by default every value but 0.

    Raises
    ------
    TooLargeError, UnsupportedMediaError, InvalidInputError
        As `decode`; also when ``instance`` is given for a picture of several channels.
    """
    image, notes = _load(data, limits)
    turn = _turn(image, notes)
    values = np.asarray(image if turn is None else image.transpose(turn))
    if values.ndim == 3:  # noqa: PLR2004
        if instance is not None:
            raise InvalidInputError(
                f"instance needs a mask of one channel, got mode {image.mode} (instance {instance})"
            )
        bands = [i for i, band in enumerate(image.getbands()) if band not in {"A", "a"}]
        return torch.from_numpy((values[..., bands] != 0).any(axis=2))
    return torch.from_numpy(values != 0 if instance is None else values == instance)


def encode_png(picture: Image.Image | npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> bytes:
    """Encode a Pillow image, or an array (h, w), (h, w, 3) or (h, w, 4), as PNG.

    Boolean arrays become black and white.
    """
    if not isinstance(picture, Image.Image):
        values = picture.astype(np.uint8) * 255 if picture.dtype == np.bool_ else picture
        picture = Image.fromarray(np.ascontiguousarray(values))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _load(data: bytes, limits: PictureLimits) -> tuple[Image.Image, list[str]]:
    """Check and decode the first frame; also start the notes."""
    limits.check_bytes(data)
    try:
        image = _open(data)
        limits.check_size(*image.size)
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            limits.check_size(*(image.tag_v2.get(tag, 1) for tag in _TILE_TAGS))
        animated = getattr(image, "is_animated", False)
        image.load()
    except Image.DecompressionBombError as error:
        raise TooLargeError(f"image must have at most {limits.max_pixels} pixels") from error
    except _DAMAGE as error:
        raise InvalidInputError(f"image is damaged, truncated or has no pixels: {error}") from error
    return image, ["the file holds several frames; the first is used"] if animated else []


def _open(data: bytes) -> ImageFile.ImageFile:
    """Read the header with the one decoder on the list that knows the file's first bytes."""
    # Not `Image.open`: it warns of large pictures, in a way that no thread can silence for itself,
    # before it says how large they are.
    for name in FORMATS:
        factory, accept = Image.OPEN[name]
        if accept is not None and accept(data[:16]) is True:
            return factory(io.BytesIO(data), "")
    raise UnsupportedMediaError(
        f"image must be one of {', '.join(FORMATS)}, "
        f"got {len(data)} bytes that start with {data[:8]!r}"
    )


def _turn(image: Image.Image, notes: list[str]) -> Image.Transpose | None:
    """Read the EXIF orientation; metadata that cannot be read turns nothing."""
    try:
        turn = _UPRIGHT.get(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGE:
        notes.append("the EXIF metadata is damaged; no orientation was applied")
        return None
    if turn is not None:
        notes.append("the EXIF orientation was applied")
    return turn


def _eight_bit(image: Image.Image, background: Colour, notes: list[str]) -> Image.Image:
    """Convert any 8-bit mode to RGB or L."""
    if image.has_transparency_data:
        return _composited(image, background, notes)
    if image.mode in {"1", "L"}:
        return image.convert("L")
    if image.mode in {"P", "RGB", "RGBX"}:
        return image.convert("RGB")
    if image.mode in {"CMYK", "YCbCr", "HSV"}:
        notes.append(f"{image.mode} was converted to RGB without a colour profile")
        return image.convert("RGB")
    raise UnsupportedMediaError(f"image must be grey, RGB, palette or CMYK, got {image.mode}")


def _composited(image: Image.Image, background: Colour, notes: list[str]) -> Image.Image:
    """Put the picture on the background; grey stays grey on a grey background."""
    above = image.convert("RGBA")
    if above.getchannel("A").getextrema() != (255, 255):
        notes.append(f"transparent pixels were composited on {background}")
    below = Image.new("RGBA", image.size, (*background, 255))
    flat = Image.alpha_composite(below, above).convert("RGB")
    grey = image.mode in {"1", "L", "LA", "La"} and len(set(background)) == 1
    return flat.getchannel(0) if grey else flat
