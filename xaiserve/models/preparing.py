"""From a decoded picture to the model's input, and where that input lies in the picture."""

from typing import Final

import numpy as np
import torch
from PIL import Image as PillowImage

from xaiserve.errors import TooLargeError
from xaiserve.models.frame import Frame
from xaiserve.models.spec import ModelSpec
from xaiserve.storage.pictures import Picture
from xaiserve.types import Image

_FLOAT_GREY: Final = "F"
_EIGHT_BIT_TOP: Final = 255.0

MAX_SCALED_PIXELS: Final = 1 << 26
"""Of the scaled picture before the crop: a strip of 1 x 5000 would otherwise need a gigabyte."""


def prepare(picture: Picture, spec: ModelSpec) -> tuple[Image, Frame]:
    """Scale and crop a picture as the model's specification declares.

    Eight-bit pictures are scaled as eight-bit integers by Pillow, which is what the published
    classifiers were measured with; float pictures (16-bit and float files) are scaled as floats and
    clipped, so that no grey level is lost. Grey is repeated over three channels; RGB becomes
    luminance (ITU-R 601-2) for a one-channel model. A crop beyond the picture pads with black.

    Parameters
    ----------
    picture
        RGB or L of 8 bits, or F in [0, 1]; any size.
    spec
        Input size, channels, resize and crop.

    Returns
    -------
    tuple[Image, Frame]
        The picture (c, h, w) in [0, 1] at the model's size, and its place in the original.

    Raises
    ------
    TooLargeError
        The declared scaling would make more than `MAX_SCALED_PIXELS` pixels.
    """
    image = _with_channels(picture.image, spec.channels)
    frame = Frame.fit(spec, image.height, image.width)
    if frame.scaled_height * frame.scaled_width > MAX_SCALED_PIXELS:
        raise TooLargeError(
            f"a picture of {image.width}x{image.height} px would be scaled to "
            f"{frame.scaled_width}x{frame.scaled_height} px, over the limit of "
            f"{MAX_SCALED_PIXELS} pixels; crop it first"
        )
    return _to_tensor(frame.apply(image, spec.resize.resample), spec.channels), frame


def as_prepared(picture: Picture, spec: ModelSpec) -> Image:
    """Take a picture that has the model's input size already: no scaling, no crop.

    Returns
    -------
    Image
        (c, h, w) in [0, 1], of the picture's own size.
    """
    return _to_tensor(_with_channels(picture.image, spec.channels), spec.channels)


def _with_channels(image: PillowImage.Image, channels: int) -> PillowImage.Image:
    if image.mode == _FLOAT_GREY:
        return image  # Pillow has no float RGB: the channels are repeated after scaling.
    return image.convert("RGB" if channels > 1 else "L")


def _to_tensor(image: PillowImage.Image, channels: int) -> Image:
    values = torch.from_numpy(np.array(image, dtype=np.float32))
    if image.mode == _FLOAT_GREY:
        # Bicubic and Lanczos overshoot at edges; Pillow clips integers itself.
        return values.clamp_(0.0, 1.0).expand(channels, -1, -1).contiguous()
    values = values.div_(_EIGHT_BIT_TOP)
    return values.unsqueeze(0) if channels == 1 else values.permute(2, 0, 1).contiguous()
