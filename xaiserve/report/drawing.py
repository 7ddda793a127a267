"""Small pieces that every picture is made of: text, legends, pictures side by side."""

import textwrap
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from xaiserve.report.colours import Rgb, coloured
from xaiserve.types import Image

PAPER: Final[Rgb] = (255, 255, 255)
INK: Final[Rgb] = (34, 34, 34)
FAINT: Final[Rgb] = (110, 110, 110)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Picture = PillowImage.Image


def font(size_px: int) -> Font:
    """Return Pillow's own scalable font, so that a picture looks the same on any machine."""
    return ImageFont.load_default(size_px)


def line_height(face: Font) -> int:
    """Return the height of a line of text, with leading, in pixels."""
    _, top, _, bottom = face.getbbox("Ágjp")
    return int((bottom - min(top, 0)) * 1.25)


def to_picture(image: Image) -> Picture:
    """Turn (c, h, w) in [0, 1], one or three channels, into an RGB picture."""
    values = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return PillowImage.fromarray(np.repeat(values, 3 // values.shape[2], axis=2))


def wrapped(text: str, face: Font, width_px: int) -> list[str]:
    """Break ``text`` into lines that fit ``width_px``; a longer word is broken too."""
    columns = max(4, int(width_px / max(face.getlength("n"), 1)))
    lines = textwrap.wrap(text, columns) or [""]
    while columns > 4 and any(face.getlength(line) > width_px for line in lines):  # noqa: PLR2004
        columns -= 1
        lines = textwrap.wrap(text, columns)
    return lines


def text_block(text: str, width_px: int, size_px: int, colour: Rgb = INK) -> Picture:
    """Draw a paragraph on paper, as high as it needs."""
    face = font(size_px)
    lines = wrapped(text, face, width_px)
    block = PillowImage.new("RGB", (width_px, line_height(face) * len(lines)), PAPER)
    pen = ImageDraw.Draw(block)
    for row, line in enumerate(lines):
        pen.text((0, row * line_height(face)), line, fill=colour, font=face)
    return block


def key_line(text: str, swatch: Rgb, width_px: int, size_px: int) -> Picture:
    """Draw a line of a legend: a patch of the colour, then what it means."""
    indent = int(size_px * 1.6)
    block = PillowImage.new("RGB", (width_px, 1), PAPER)
    words = text_block(text, width_px - indent, size_px)
    block = block.resize((width_px, words.height))
    block.paste(words, (indent, 0))
    box = (0, size_px * 0.2, size_px, size_px * 1.1)
    ImageDraw.Draw(block).rectangle(box, fill=swatch, outline=INK)
    return block


def colour_bar(
    anchors: tuple[Rgb, ...], low: str, high: str, width_px: int, size_px: int
) -> Picture:
    """Draw a bar of a colour map with the numbers at its ends."""
    face = font(size_px)
    left, right = (int(face.getlength(text)) + size_px // 2 for text in (low, high))
    block = PillowImage.new("RGB", (width_px, line_height(face)), PAPER)
    pen = ImageDraw.Draw(block)
    pen.text((0, 0), low, fill=INK, font=face)
    pen.text((width_px - right + size_px // 2, 0), high, fill=INK, font=face)
    ramp = np.linspace(0, 1, max(8, width_px - left - right), dtype=np.float32)[None]
    bar = PillowImage.fromarray(coloured(np.repeat(ramp, size_px, axis=0), anchors))
    block.paste(bar, (left, size_px // 6))
    return block


def stacked(parts: Sequence[Picture], gap_px: int = 0) -> Picture:
    """Put pictures below each other on paper, left edges aligned."""
    height = sum(part.height for part in parts) + gap_px * (len(parts) - 1)
    sheet = PillowImage.new("RGB", (max(part.width for part in parts), height), PAPER)
    top = 0
    for part in parts:
        sheet.paste(part, (0, top))
        top += part.height + gap_px
    return sheet


def beside(parts: Sequence[Picture], gap_px: int = 0) -> Picture:
    """Put pictures beside each other on paper, top edges aligned."""
    width = sum(part.width for part in parts) + gap_px * (len(parts) - 1)
    sheet = PillowImage.new("RGB", (width, max(part.height for part in parts)), PAPER)
    left = 0
    for part in parts:
        sheet.paste(part, (left, 0))
        left += part.width + gap_px
    return sheet


def framed(picture: Picture, margin_px: int) -> Picture:
    """Put a margin of paper around a picture."""
    size = (picture.width + 2 * margin_px, picture.height + 2 * margin_px)
    sheet = PillowImage.new("RGB", size, PAPER)
    sheet.paste(picture, (margin_px, margin_px))
    return sheet
