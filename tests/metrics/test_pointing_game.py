"""The pointing games, against answers known by construction and a slow twin."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xaiserve.metrics.pointing_game import EnergyPointingGame, PointingGame
from xaiserve.metrics.scored import Scored


def one_pixel(row, column, size=101):
    region = torch.zeros(size, size, dtype=torch.bool)
    region[row, column] = True
    return region


def slow_hit(saliency, region, tolerance_px):
    """For every maximum, look at every pixel of the region."""
    best = saliency.max()
    points = [p for p in np.ndindex(*saliency.shape) if saliency[p] == best]
    inside = [p for p in np.ndindex(*region.shape) if region[p]]

    def near(a, b):
        if tolerance_px == 0:
            return a == b
        return (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 < tolerance_px**2

    return np.mean([any(near(point, pixel) for pixel in inside) for point in points])


@pytest.mark.parametrize(("away", "value"), [(0, 1.0), (14, 1.0), (15, 0.0), (16, 0.0)])
def test_hits_strictly_inside_the_tolerance(away, value):
    saliency = one_pixel(50, 50 + away).float()
    assert PointingGame().score(saliency, one_pixel(50, 50)) == Scored(value)


def test_counts_the_distance_along_both_axes():
    # 9 and 12 pixels are 15 on the diagonal, exactly.
    saliency = one_pixel(59, 62).float()
    region = one_pixel(50, 50)
    assert PointingGame().score(saliency, region) == Scored(0.0)
    assert PointingGame(tolerance_px=15.01).score(saliency, region) == Scored(1.0)


@pytest.mark.parametrize(("away", "value"), [(0, 1.0), (1, 0.0)])
def test_without_tolerance_asks_for_a_maximum_inside(away, value):
    saliency = one_pixel(50, 50 + away).float()
    assert PointingGame(tolerance_px=0.0).score(saliency, one_pixel(50, 50)) == Scored(value)


def test_a_constant_map_scores_chance():
    region = one_pixel(50, 50)
    disc = sum(
        row**2 + column**2 < 225 for row, column in itertools.product(range(-15, 16), repeat=2)
    )
    expected = disc / region.numel()
    assert PointingGame().score(torch.ones(101, 101), region).value == pytest.approx(expected)
    assert PointingGame().chance(region).value == pytest.approx(expected)


def test_several_maxima_score_the_share_that_hits():
    saliency = (one_pixel(50, 50) | one_pixel(50, 60) | one_pixel(0, 0)).float()
    assert PointingGame().score(saliency, one_pixel(50, 50)).value == pytest.approx(2 / 3)


@settings(deadline=None)
@given(
    arrays(np.float32, (7, 9), elements=st.sampled_from([-1.0, 0.0, 0.5, 1.0])),
    arrays(bool, (7, 9)).filter(np.any),
    st.sampled_from([0.0, 1.0, 2.0, 2.5, 5.0]),
)
def test_equals_the_slow_twin(saliency, region, tolerance_px):
    found = PointingGame(tolerance_px=tolerance_px).score(
        torch.from_numpy(saliency), torch.from_numpy(region)
    )
    assert found.value == pytest.approx(slow_hit(saliency, region, tolerance_px))


@pytest.mark.parametrize(
    ("size", "middle"), [((5, 5), {(2, 2)}), ((4, 6), {(1, 2), (1, 3), (2, 2), (2, 3)})]
)
def test_the_centre_is_the_middle_pixels(size, middle):
    whole = torch.zeros(size, dtype=torch.bool)
    for place in np.ndindex(*size):
        region = whole.clone()
        region[place] = True
        expected = Scored(1 / len(middle) if place in middle else 0.0)
        assert PointingGame(tolerance_px=0.0).centre(region) == expected
        assert EnergyPointingGame().centre(region) == expected


def test_the_centre_has_the_same_tolerance():
    assert PointingGame().centre(one_pixel(50, 64)) == Scored(1.0)
    assert PointingGame().centre(one_pixel(50, 65)) == Scored(0.0)


def test_energy_is_the_positive_share_inside():
    saliency = torch.tensor([[3.0, -5.0], [1.0, 0.0]])
    region = torch.tensor([[True, True], [False, False]])
    assert EnergyPointingGame().score(saliency, region) == Scored(0.75)
    assert EnergyPointingGame().chance(region) == Scored(0.5)


def test_energy_of_the_region_itself_is_one_and_of_the_rest_zero():
    region = one_pixel(3, 4) | one_pixel(60, 90)
    assert EnergyPointingGame().score(region.float() / 3, region) == Scored(1.0)
    assert EnergyPointingGame().score((~region).float(), region) == Scored(0.0)


@settings(deadline=None)
@given(
    arrays(np.float32, (6, 5), elements=st.floats(0, 1, width=32)).filter(np.any),
    arrays(bool, (6, 5)).filter(np.any),
)
def test_energy_of_a_region_and_of_its_complement_sum_to_one(saliency, region):
    values = [
        EnergyPointingGame().score(torch.from_numpy(saliency), torch.from_numpy(part)).value
        for part in (region, ~region)
        if part.any()
    ]
    assert sum(values) == pytest.approx(1.0)


@pytest.mark.parametrize("metric", [PointingGame(), EnergyPointingGame()])
def test_missing_values_state_their_reason(metric):
    region = one_pixel(50, 50)
    whole = torch.ones(101, 101)
    nothing = torch.zeros_like(region)
    assert metric.score(whole, nothing) == Scored(None, "empty_mask")
    assert metric.chance(nothing) == Scored(None, "empty_mask")
    assert metric.centre(nothing) == Scored(None, "empty_mask")
    assert metric.score(torch.ones(101, 100), region) == Scored(None, "size_mismatch")
    assert metric.score(torch.empty(0, 0), region) == Scored(None, "size_mismatch")
    assert metric.score(whole / 0, region) == Scored(None, "nonfinite_map")
    assert metric.score(whole * torch.nan, region) == Scored(None, "nonfinite_map")


def test_energy_of_a_map_without_positive_values_is_missing():
    found = EnergyPointingGame().score(-torch.ones(101, 101), one_pixel(50, 50))
    assert found == Scored(None, "zero_map")


def test_a_coarser_map_is_scaled_to_the_region():
    coarse = torch.tensor([[0.0, 0.0], [0.0, 1.0]])
    region = torch.zeros(8, 8, dtype=torch.bool)
    region[6:, 6:] = True
    assert PointingGame(tolerance_px=0.0).score(coarse, region) == Scored(1.0)


def test_leaves_its_arguments_untouched():
    saliency, region = -torch.ones(101, 101), one_pixel(50, 50)
    saliency[0, 0] = 1.0
    before = saliency.clone()
    PointingGame().score(saliency, region)
    EnergyPointingGame().score(saliency, region)
    assert torch.equal(saliency, before)
    assert torch.equal(region, one_pixel(50, 50))


def test_a_negative_tolerance_is_refused():
    with pytest.raises(ValueError, match="tolerance_px must be a number of at least 0, got -1"):
        PointingGame(tolerance_px=-1.0)


@pytest.mark.parametrize(
    ("value", "reason"), [(None, ""), (0.5, "zero_map"), (float("nan"), ""), (float("inf"), "")]
)
def test_a_value_is_finite_or_has_a_reason(value, reason):
    with pytest.raises(ValueError, match="value"):
        Scored(value, reason)
