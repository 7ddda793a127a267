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
from xaiserve.report.presenting import presenter_of

CELL_PX: Final = 240
GAP_PX: Final = 8
TEXT_PX: Final = 15


_Cell = tuple[str, Picture]
"""What is shown of the method, empty for its map."""


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

    A method that finds sets of pixels has two columns: its map, and its selected sets; one that
    brings panels of its own has those for a gallery beside its map.
    """
    columns = [_column(rows, place) for place in range(len(methods))]
    heads = ["image"]
    for method, column in zip(methods, columns, strict=True):
        heads += [f"{method}, {title}" if title else method for title, _ in column[0]]
    lines = [beside([_head(text) for text in heads], GAP_PX)]
    for place, row in enumerate(rows):
        answers = [cell for column in columns for _, cell in column[place]]
        lines.append(beside([_first(row), *answers], GAP_PX))
    return framed(stacked(lines, GAP_PX), GAP_PX)


def _column(rows: Sequence[Row], place: int) -> list[list[_Cell]]:
    """Draw one method's cells; rows without an answer are as wide as the others."""
    drawn = [_answer(row, row.answers[place]) for row in rows]
    widest = max(drawn, key=len)
    blank = PillowImage.new("RGB", (CELL_PX, CELL_PX), PAPER)
    return [
        [
            (title, cells[at][1] if at < len(cells) else blank)
            for at, (title, _) in enumerate(widest)
        ]
        for cells in drawn
    ]


def _answer(row: Row, answer: Explanation | str) -> list[_Cell]:
    if isinstance(answer, str):
        return [("", framed(text_block(answer, CELL_PX - 2 * GAP_PX, TEXT_PX), GAP_PX))]
    found = sketch(row.case, answer)
    cells = [("", _cell(heat_panel(found)))]
    if found.sets is not None:
        cells.append(("sets", _cell(sets_panel(found))))
    presenter = presenter_of(answer)
    if presenter is not None:
        own = [found.panels[at] for at in presenter.cells]
        cells += [(panel.title, _cell(panel.picture)) for panel in own]
    return cells


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
