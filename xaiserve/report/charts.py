"""Charts as numbers for a template to draw: signed bars, and points about a diagonal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

BAR_STEP_PX: Final = 22
SCATTER_PX: Final = 320
MARGIN_PX: Final = 40

_NAME_PX: Final = 96
_NUMBER_PX: Final = 52
_LENGTH_PX: Final = 150

Mark = Literal["row", "counterfactual", "image", "contrast"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar, from the axis to the right, or to the left where its value is negative."""

    name: str
    text: str
    value: float
    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A chart of bars around the axis at ``axis``."""

    bars: tuple[Bar, ...]
    axis: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point, by what it stands for."""

    x: float
    y: float
    mark: Mark
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Points in a square with its diagonal; ``ticks`` are (place from left, place from top, text).

    Parameters
    ----------
    start, end
        The axes' ends in pixels from the left; from the top they are the other way round.
    """

    points: tuple[Point, ...]
    ticks: tuple[tuple[float, float, str], ...]
    start: float
    end: float
    size: float


def signed_bars(values: Sequence[tuple[str, float]]) -> Bars:
    """Lay out named values as bars, in their order, all to one scale."""
    top = max((abs(value) for _, value in values), default=0.0) or 1.0
    left = any(value < 0 for _, value in values) * (_LENGTH_PX + _NUMBER_PX)
    axis = _NAME_PX + left
    return Bars(
        bars=tuple(
            Bar(
                name=name,
                text=f"{value:+.2g}" if value else "0",
                value=value,
                x=round(axis + min(value / top, 0.0) * _LENGTH_PX, 1),
                y=4 + BAR_STEP_PX * place,
                width=round(abs(value) / top * _LENGTH_PX, 1),
            )
            for place, (name, value) in enumerate(values)
        ),
        axis=axis,
        width=axis + _LENGTH_PX + _NUMBER_PX,
        height=8 + BAR_STEP_PX * len(values),
    )


def scatter(points: Sequence[tuple[float, float, Mark, str]]) -> Scatter:
    """Lay out (x, y, mark, text) in a square that holds 0 to 1 and every point.

    Marks are drawn in the order row, counterfactual, contrast, image, so that rows hide none.
    """
    low = min([0.0, *(min(x, y) for x, y, _, _ in points)])
    high = max([1.0, *(max(x, y) for x, y, _, _ in points)])
    start, end = float(MARGIN_PX), float(SCATTER_PX - MARGIN_PX / 2)

    def place(value: float) -> float:
        return round(start + (value - low) / (high - low) * (end - start), 1)

    def flipped(value: float) -> float:
        return round(SCATTER_PX - place(value), 1)

    order: tuple[Mark, ...] = ("row", "counterfactual", "contrast", "image")
    ordered = sorted(points, key=lambda point: order.index(point[2]))
    return Scatter(
        points=tuple(
            Point(x=place(x), y=flipped(y), mark=mark, text=text) for x, y, mark, text in ordered
        ),
        ticks=tuple((place(value), flipped(value), f"{value:g}") for value in (0.0, 0.5, 1.0)),
        start=start,
        end=end,
        size=SCATTER_PX,
    )
