"""Sample sheets: pictures, what was drawn from them, and the change, side by side."""

from typing import Final

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from xaiserve.gan.images import Pictures
from xaiserve.gan.networks import CLASSES, Generator
from xaiserve.types import Images

COLUMNS: Final = 8
_GAP_PX: Final = 2
_TEXT_PX: Final = 11
CAPTION_PX: Final = 16
"""Height of the line above each row that says what it shows."""


def sheet(generator: Generator, pictures: Pictures) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a sheet: a column per picture, up to `COLUMNS`, both classes as far as there are.

    Rows, from the top: the picture; translated into each class; how far the translation into the
    *other* class differs from it, white for 1.
    """
    rows = chosen_rows(pictures)
    images = pictures.span[rows].to_images(pictures.inputs[rows].float())
    drawn = [translations(generator, pictures, rows, target) for target in range(CLASSES)]
    own = pictures.classes[rows].view(-1, 1, 1, 1)
    change = (torch.where(own == 0, drawn[1], drawn[0]) - images).abs()
    captions = ["picture", *(f"as {label}" for label in pictures.labels), "change, white for 1"]
    table = [
        np.concatenate([_caption(text, row.shape[1]), row])
        for text, row in zip(captions, map(_row, (images, *drawn, change)), strict=True)
    ]
    return np.concatenate(table)


def chosen_rows(pictures: Pictures) -> torch.Tensor:
    """Take the first pictures of each class in turn."""
    each = [torch.nonzero(pictures.classes == c).flatten()[: COLUMNS // 2] for c in (0, 1)]
    return torch.cat(each)


def translations(
    generator: Generator, pictures: Pictures, rows: torch.Tensor, target: int
) -> Images:
    """Translate some of the pictures, one at a time, in image units at the network's size."""
    device = next(generator.parameters()).device
    training = generator.training
    generator.eval()
    try:
        with torch.inference_mode():
            drawn = [
                generator(pictures.inputs[row].float().unsqueeze(0).to(device), target).cpu()
                for row in rows.tolist()
            ]
    finally:
        generator.train(training)
    return pictures.span[rows].to_images(torch.cat(drawn))


def _row(images: Images) -> UInt8[np.ndarray, "rows columns 3"]:
    """Put pictures beside each other, each in a white frame."""
    framed = torch.nn.functional.pad(images, (_GAP_PX,) * 4, value=1.0)
    row = (torch.cat(list(framed), dim=2) * 255).round().to(torch.uint8).expand(3, -1, -1)
    return row.permute(1, 2, 0).numpy()


def _caption(text: str, width_px: int) -> UInt8[np.ndarray, "rows columns 3"]:
    strip = PillowImage.new("RGB", (width_px, CAPTION_PX), "white")
    face = ImageFont.load_default(_TEXT_PX)
    ImageDraw.Draw(strip).text((_GAP_PX, 1), text, fill="black", font=face)
    return np.asarray(strip)
