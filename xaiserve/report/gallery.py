"""`gallery`: every method on the same images in one labelled picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image as PillowImage

from xaiserve.explainers.base import Explanation
from xaiserve.perturb.case import Case
from xaiserve.report.drawing import (
    PAPER,
    Picture,
    beside,
    framed,
    stacked,
    text_block,
    to_picture,
)
from xaiserve.report.overlays import sketch
from xaiserve.report.panels import heat_panel, sets_panel

CELL_PX: Final = 240
GAP_PX: Final = 8
TEXT_PX: Final = 15


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Row:
    """One image and what each method says about it, in the order of the columns.

    Parameters
    ----------
    caption
        What stands below the image: its label and score.
    answers
        An explanation, or the sentence that says why there is none.
    """

    case: Case
    caption: str
    answers: Sequence[Explanation | str]


def gallery(rows: Sequence[Row], methods: Sequence[str]) -> Picture:
    """Draw rows of images and columns of methods, the image itself first.

    A method that finds sets of pixels has two columns: its map, and its selected sets.
    """
    columns = [_column(rows, place) for place in range(len(methods))]
    heads = ["image"]
    for method, column in zip(methods, columns, strict=True):
        heads += [method] if len(column[0]) == 1 else [method, f"{method}, sets"]
    lines = [beside([_head(text) for text in heads], GAP_PX)]
    for place, row in enumerate(rows):
        answers = [cell for column in columns for cell in column[place]]
        lines.append(beside([_first(row), *answers], GAP_PX))
    return framed(stacked(lines, GAP_PX), GAP_PX)


def _column(rows: Sequence[Row], place: int) -> list[list[Picture]]:
    """Draw one method's cells; rows without an answer are as wide as the others."""
    drawn = [_answer(row, row.answers[place]) for row in rows]
    width = max(len(cells) for cells in drawn)
    blank = PillowImage.new("RGB", (CELL_PX, CELL_PX), PAPER)
    return [cells + [blank] * (width - len(cells)) for cells in drawn]


def _answer(row: Row, answer: Explanation | str) -> list[Picture]:
    if isinstance(answer, str):
        return [framed(text_block(answer, CELL_PX - 2 * GAP_PX, TEXT_PX), GAP_PX)]
    found = sketch(row.case, answer)
    if found.sets is None:
        return [_cell(heat_panel(found))]
    sets = sets_panel(found)
    return [_cell(heat_panel(found)), _cell(sets)]


def _first(row: Row) -> Picture:
    caption = text_block(row.caption, CELL_PX, TEXT_PX)
    return stacked([_cell(to_picture(row.case.image)), caption])


def _head(text: str) -> Picture:
    return text_block(text, CELL_PX, TEXT_PX + 2)


def _cell(picture: Picture) -> Picture:
    """Scale to the cell, whole; what is not square keeps its shape on paper."""
    scale = CELL_PX / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # Toys are enlarged pixel by pixel: there each pixel counts.
    small = scale > 2  # noqa: PLR2004
    how = PillowImage.Resampling.NEAREST if small else PillowImage.Resampling.LANCZOS
    cell = PillowImage.new("RGB", (CELL_PX, CELL_PX), PAPER)
    cell.paste(picture.resize(size, how), (0, 0))
    return cell
