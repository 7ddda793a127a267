"""The acceptance criteria on synthetic pictures, with classifiers whose truth is known."""

from functools import cache
from statistics import mean

import pytest

from xaiserve.explainers.clear_image import ClearImage
from xaiserve.metrics.grid_pointing import GridPointingGame
from xaiserve.testing.clear_oracles import (
    ADDITIVE,
    AND,
    OR,
    diseased_samples,
    drawn_shapes,
    oracle,
    oracle_case,
)
from xaiserve.testing.contracts import explain, same

CLEAR = ClearImage(segmenter="gan_diff", max_predictors=6)
FEW = 12
MANY = 60
"""The benchmark ``clear-oracle`` has the whole 300."""


@cache
def samples(count):
    return tuple(diseased_samples(count))


@cache
def explained(evidence, slope, count):
    return tuple(
        explain(CLEAR, oracle_case(one), oracle(one, evidence, slope)) for one in samples(count)
    )


def pointing(found, count):
    """Score the maps of the pictures without a rectangle."""
    game = GridPointingGame()
    return [
        game.score(each.saliency, [feature.squares for feature in one.features]).value
        for each, one in zip(found, samples(count), strict=True)
        if all(feature.name != "rectangle" for feature in one.features)
    ]


def shapes_of(sample, found):
    """Say which segments hold the sample's pathological shapes."""
    inside = [found.labels.numpy()[shape.mask] for shape in drawn_shapes(sample)]
    return {max(set(each[each > 0].tolist()), key=each.tolist().count) for each in inside}


def causes(listed):
    return {each.segments for each in listed}


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_steep_conjunction_is_explained(count):
    found = explained(AND, 12.0, count)
    assert mean(pointing(found, count)) >= 0.99
    assert mean(each.fidelity_mean for each in found) <= 0.01
    assert max(each.fidelity_max for each in found) <= 0.03
    assert all(each.counterfactuals for each in found)
    assert mean(each.regression.centering_gap for each in found) <= 0.01
    assert mean(each.queries_distinct for each in found) <= 40
    assert not any(each.overdetermined for each in found)


@pytest.mark.parametrize("slope", [6.0, 3.0])
def test_gentler_conjunctions_are_pointed_at(slope):
    found = explained(AND, slope, FEW)
    assert mean(pointing(found, FEW)) >= 0.99
    assert max(each.fidelity_max for each in found) <= 0.2


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_sum_is_met_exactly(count):
    found = explained(ADDITIVE, 6.0, count)
    assert mean(pointing(found, count)) >= 0.99
    errors = [each.fidelity_max for each in found if each.counterfactuals]
    assert errors
    assert max(errors) <= 0.001


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_each_shape_is_a_sufficient_cause_of_a_disjunction(count):
    found = explained(OR, 12.0, count)
    assert mean(pointing(found, count)) >= 0.99
    for one, each in zip(samples(count), found, strict=True):
        expected = {(segment,) for segment in shapes_of(one, each)}
        assert causes(each.sufficient_verified) == expected
        assert set(each.lattice.sufficient) >= expected
        if len(expected) <= 2:
            assert causes(each.sufficient_regression) == expected
        assert each.overdetermined == (len(expected) > 1)


def test_the_lattice_s_counterfactuals_hold_those_of_the_search():
    for each in explained(AND, 12.0, FEW):
        searched = {one.segments for one in each.counterfactuals}
        assert searched <= set(each.lattice.counterfactuals)


@pytest.mark.parametrize("max_rows", [1, 64])
def test_records_do_not_depend_on_the_batch(max_rows):
    for one, found in zip(samples(FEW)[:3], explained(AND, 12.0, FEW), strict=False):
        again = explain(CLEAR, oracle_case(one), oracle(one, AND, 12.0), max_rows=max_rows)
        same(again, found)
