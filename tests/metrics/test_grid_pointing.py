"""CLEAR's pointing game: by hand (criterion 3 of its specification), and against a slow twin."""

import itertools
import statistics
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.data.sample import Feature
from xaiserve.metrics.grid_pointing import GridPointingGame, GridScored, squares_of
from xaiserve.metrics.scored import Scored

SQUARE_PX = 32


def picture(values, square_px=SQUARE_PX):
    """Paint each square of the 7 x 7 grid with its value."""
    grid = torch.tensor(values, dtype=torch.float32).reshape(7, 7)
    return grid.repeat_interleave(square_px, 0).repeat_interleave(square_px, 1)


def ranked(*squares):
    """Score ``squares`` highest, in this order, and every other one 0."""
    values = [0.0] * 49
    for place, square in enumerate(squares):
        values[square] = float(len(squares) - place)
    return picture(values)


def features(*members):
    return [frozenset(each) for each in members]


def slow_game(values, members, ties):
    """Visit square by square, as the rules say, in exact numbers."""
    values = [Fraction(value) for value in values]
    floored = [0 if abs(value) < max(values) / 100 else value for value in values]
    left = sorted(range(len(values)), key=lambda square: (-floored[square], square))
    found, hits, misses = set(), 0, 0
    while len(found) < len(members):
        best = floored[left[0]]
        group = [square for square in left if floored[square] == best]
        visited = group if ties == "group" else group[:1]
        for square in visited:
            left.remove(square)
            inside = [i for i, member in enumerate(members) if square in member]
            found |= set(inside)
            hits += len(inside)
            misses += not inside
    return hits, misses, sum(value == best for value in floored)


@pytest.mark.parametrize(
    ("order", "members", "value"),
    [
        ((5, 6, 7), ({6}, {7}), 2 / 3),
        ((5, 6), ({5, 9}, {5}), 1.0),
        ((48,), ({48},), 1.0),
        (tuple(range(49)), ({48},), 1 / 49),
    ],
)
def test_scores_games_played_by_hand(order, members, value):
    found = GridPointingGame().score(ranked(*order), features(*members))
    assert found.value == pytest.approx(value, abs=0)


def test_a_square_in_two_features_is_two_hits():
    found = GridPointingGame().score(ranked(5), features({5, 9}, {5}))
    assert (found.hits, found.misses) == (2, 0)


def test_an_empty_map_is_visited_by_number_or_all_at_once():
    zero = torch.zeros(224, 224)
    by_number = GridPointingGame().score(zero, features({48}))
    assert by_number == GridScored(1 / 49, "", 1, 48, 49)
    together = GridPointingGame(ties="group").score(zero, features({0, 1}))
    assert together == GridScored(2 / 49, "", 2, 47, 49)
    assert GridPointingGame().score(zero, features({0, 1})) == GridScored(1.0, "", 1, 0, 49)


def test_squares_below_a_hundredth_of_the_largest_count_as_nothing():
    values = [0.0] * 49
    values[3], values[20], values[30] = 1.0, 0.009, -0.009
    # Without the floor 20 would come before 10, and 30 after everything.
    assert GridPointingGame().score(picture(values), features({3}, {10})).misses == 9
    assert GridPointingGame(floor=0.0).score(picture(values), features({3}, {10})).misses == 10


def test_negative_squares_come_last():
    values = [0.0] * 49
    values[0] = -1.0
    found = GridPointingGame().score(picture(values), features({0}))
    assert found == GridScored(1 / 49, "", 1, 48, 1)


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([-1.0, 0.0, 0.0078125, 0.5, 0.75, 1.0]), min_size=49, max_size=49),
    st.lists(st.frozensets(st.integers(0, 48), min_size=1, max_size=5), min_size=1, max_size=4),
    st.sampled_from(["index", "group"]),
)
def test_equals_the_slow_twin(values, members, ties):
    found = GridPointingGame(ties=ties).score(picture(values, 8), members)
    hits, misses, tied = slow_game(values, members, ties)
    assert (found.hits, found.misses, found.tied) == (hits, misses, tied)
    assert found.value == hits / (hits + misses)


@pytest.mark.parametrize(("height", "width"), [(224, 224), (64, 64), (50, 7), (9, 100)])
def test_squares_of_a_mask_are_those_whose_mean_it_changes(height, width):
    draws = np.random.default_rng(0)
    for _ in range(20):
        mask = torch.from_numpy(draws.random((height, width)) < 3 / (height * width))
        means = GridPointingGame(floor=0.0).values(mask.float())
        assert squares_of(mask) == frozenset(np.flatnonzero(means))


def test_squares_of_a_mask_are_those_of_the_generated_features():
    mask = torch.zeros(224, 224, dtype=torch.bool)
    mask[31:33, 95:130] = True
    assert squares_of(mask) == Feature("any", (mask.numpy(),)).squares == {2, 3, 4, 9, 10, 11}


def test_half_precision_makes_near_equals_equal():
    values = [0.5] * 49
    values[48] = 0.5001
    assert GridPointingGame().score(picture(values), features({48})).value == 1.0
    assert GridPointingGame(averages="float16").score(picture(values), features({48})).misses == 48


def test_chance_of_one_feature_is_the_closed_form():
    # k squares of n: the first hit comes after j misses with C(n - j - 1, k - 1) / C(n, k).
    n, k = 49, 4
    weights = [Fraction(1)]
    for j in range(n - k):
        weights.append(weights[-1] * Fraction(n - k - j, n - 1 - j))
    weights = [weight * Fraction(k, n) for weight in weights]
    assert sum(weights) == 1
    exact = float(sum(weight / (1 + j) for j, weight in enumerate(weights)))
    found = GridPointingGame().chance(features({3, 4, 10, 11})).value
    assert found == pytest.approx(exact, abs=0.015)


def test_chance_is_the_mean_over_every_order():
    game, members = GridPointingGame(side=2), features({0, 1}, {1}, {3})
    every = [
        slow_game([4 - order.index(square) for square in range(4)], members, "index")[:2]
        for order in itertools.permutations(range(4))
    ]
    exact = statistics.fmean(hits / (hits + misses) for hits, misses in every)
    assert game.chance(members).value == pytest.approx(exact, abs=0.01)
    assert game.chance(members) == game.chance(members[::-1])


def test_the_centre_visits_the_middle_first():
    game = GridPointingGame()
    assert game.centre(features({24})) == Scored(1.0)
    assert game.centre(features({17})) == Scored(1 / 2)
    assert game.centre(features({48})).value < 1 / 45


def test_missing_values_state_their_reason():
    game, some = GridPointingGame(), features({3})
    assert game.score(torch.ones(224, 224), []) == GridScored(None, "empty_mask")
    assert game.chance([]) == game.centre([]) == Scored(None, "empty_mask")
    assert game.score(torch.ones(6, 224), some).reason == "size_mismatch"
    assert game.score(torch.full((224, 224), torch.nan), some).reason == "nonfinite_map"


@pytest.mark.parametrize("squares", [(), (49,), (-1, 3)])
def test_a_feature_without_squares_of_the_grid_is_refused(squares):
    with pytest.raises(ValueError, match="at least one square, from 0 to 48, got"):
        GridPointingGame().score(torch.ones(224, 224), [frozenset(squares)])
