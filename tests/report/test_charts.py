"""Charts: bars go the way of their sign, points lie where they should, numbers hide nothing."""

import numpy as np
from PIL import Image as PillowImage

from xaiserve.report.badges import Badge, draw_badges
from xaiserve.report.charts import scatter, signed_bars
from xaiserve.report.colours import FOR


def test_bars_start_at_the_axis_and_go_the_way_of_their_sign() -> None:
    chart = signed_bars([("1", 4.0), ("2", -2.0)])
    longest, other = chart.bars
    assert longest.x == chart.axis
    assert other.x + other.width == chart.axis
    assert other.width == longest.width / 2
    assert (longest.text, other.text) == ("+4", "-2")


def test_bars_without_any_value_have_no_length() -> None:
    assert [bar.width for bar in signed_bars([("1", 0.0)]).bars] == [0]
    assert signed_bars([]).bars == ()


def test_equal_values_lie_on_the_diagonal_between_the_axes() -> None:
    chart = scatter([(value, value, "row", "") for value in (0.0, 0.25, 1.0)])
    first, middle, last = chart.points
    assert (first.x, last.x) == (chart.start, chart.end)
    for point in (first, middle, last):
        assert point.x + point.y == chart.size


def test_rows_are_drawn_below_what_is_named() -> None:
    given = [(0.9, 0.9, "image", "i"), (0.2, 0.2, "counterfactual", "c"), (0.5, 0.5, "row", "r")]
    assert [point.text for point in scatter(given).points] == ["r", "c", "i"]


def test_a_linear_regression_beyond_0_and_1_stays_inside() -> None:
    chart = scatter([(0.0, -0.5, "row", ""), (1.0, 1.5, "row", "")])
    for point in chart.points:
        assert chart.start <= point.x <= chart.end
        assert chart.size - chart.end <= point.y <= chart.size - chart.start


def test_a_number_does_not_hide_a_small_region() -> None:
    mask = np.zeros((448, 448), dtype=np.bool_)
    mask[200:216, 200:216] = True
    panel = PillowImage.new("RGB", (448, 448), (90, 90, 90))
    draw_badges(panel, [Badge(number=1, mask=mask, colour=FOR)])
    white = (np.asarray(panel) == 255).all(axis=2)
    assert white.any()
    assert not white[mask].any()


def test_numbers_of_neighbours_do_not_overlap() -> None:
    masks = [np.zeros((448, 448), dtype=np.bool_) for _ in range(2)]
    masks[0][200:210, 200:210] = masks[1][200:210, 212:222] = True
    alone = PillowImage.new("RGB", (448, 448), (90, 90, 90))
    both = alone.copy()
    badges = [Badge(number=8, mask=mask, colour=FOR) for mask in masks]
    draw_badges(alone, badges[:1])
    draw_badges(both, badges)
    white = [(np.asarray(panel) == 255).all(axis=2).sum() for panel in (alone, both)]
    assert white[1] > 1.8 * white[0]
