"""The exact family against the power set."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.explainers.multirex.family import (
    dice_matrix,
    greedy_set,
    independent_set,
    select_family,
)


@st.composite
def graphs(draw):
    n = draw(st.integers(1, 9))
    pairs = list(combinations(range(n), 2))
    edges = draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []
    conflicts = [0] * n
    for i, j in edges:
        conflicts[i] |= 1 << j
        conflicts[j] |= 1 << i
    return draw(st.lists(st.integers(1, 20), min_size=n, max_size=n)), conflicts


def brute_force(areas, conflicts):
    best = None
    for size in range(len(areas) + 1):
        for chosen in combinations(range(len(areas)), size):
            if all(not conflicts[i] >> j & 1 for i, j in combinations(chosen, 2)):
                key = (-size, sum(areas[i] for i in chosen), chosen)
                best = key if best is None else min(best, key)
    return best[2]


@given(graphs())
@settings(max_examples=200, deadline=None)
def test_the_family_is_what_listing_the_power_set_gives(graph):
    assert independent_set(*graph) == brute_force(*graph)


@given(graphs())
@settings(max_examples=50, deadline=None)
def test_the_greedy_family_has_no_conflict_and_cannot_grow(graph):
    areas, conflicts = graph
    chosen = greedy_set(areas, conflicts)
    assert all(not conflicts[i] >> j & 1 for i, j in combinations(chosen, 2))
    assert all(
        any(conflicts[i] >> j & 1 for j in chosen) for i in range(len(areas)) if i not in chosen
    )


@given(graphs())
@settings(max_examples=100, deadline=None)
def test_no_exchange_of_one_set_betters_the_greedy_family(graph):
    areas, conflicts = graph
    chosen = greedy_set(areas, conflicts)
    others = [i for i in range(len(areas)) if i not in chosen]
    for out in chosen:
        kept = [i for i in chosen if i != out]
        free = [i for i in others if not any(conflicts[i] >> j & 1 for j in kept)]
        assert all(conflicts[i] >> j & 1 for i, j in combinations(free, 2))
        assert all(areas[i] >= areas[out] for i in free)


def test_an_exchange_finds_what_taking_the_fewest_conflicts_first_misses():
    # A ring of six with a chord, and a set apart: 3 of the ring's are possible, 2 come first.
    conflicts = [0] * 7
    for i, j in [(0, 2), (2, 3), (3, 1), (1, 4), (4, 5), (5, 0), (3, 4)]:
        conflicts[i] |= 1 << j
        conflicts[j] |= 1 << i
    assert len(greedy_set([5] * 7, conflicts)) == len(independent_set([5] * 7, conflicts)) == 4


@given(st.lists(st.sets(st.integers(0, 20)), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_dice_counts_common_pixels(sets):
    masks = []
    for pixels in sets:
        mask = torch.zeros(3, 7, dtype=torch.bool)
        mask.view(-1)[list(pixels)] = True
        masks.append(mask)
    dice = dice_matrix(masks)
    for i, one in enumerate(sets):
        for j, other in enumerate(sets):
            expected = 2 * len(one & other) / max(1, len(one) + len(other))
            assert float(dice[i, j]) == pytest.approx(expected)


def test_more_than_64_sets_are_solved_greedily_and_it_is_said():
    corners = [(row, column) for row in range(10) for column in range(10)]
    selected, exact = select_family(squares(*corners), 0.0)
    assert not exact
    assert len(selected) == 16


def test_duplicates_do_not_count_towards_the_64():
    places = [(row, column) for row in range(0, 10, 3) for column in range(0, 10, 3)]
    assert select_family(squares(*places * 5), 0.0) == (tuple(range(16)), True)


def test_an_overlap_of_exactly_the_bound_is_no_conflict():
    masks = squares((0, 0), (0, 2))
    assert select_family(masks, 2 * 3 / 18)[0] == (0, 1)
    assert select_family(masks, 0.33)[0] == (0,)


@pytest.mark.parametrize("conflicts_each", [4, 8, 16])
def test_64_sets_with_random_conflicts_are_solved(conflicts_each):
    generator = np.random.Generator(np.random.Philox(key=conflicts_each))
    conflicts = [0] * 64
    for i, j in generator.integers(0, 64, (64 * conflicts_each // 2, 2)).tolist():
        if i != j:
            conflicts[i] |= 1 << j
            conflicts[j] |= 1 << i
    areas = generator.integers(1, 100, 64).tolist()
    exact, greedy = independent_set(areas, conflicts), greedy_set(areas, conflicts)
    assert all(not conflicts[i] >> j & 1 for i, j in combinations(exact, 2))
    assert (len(exact), -sum(areas[i] for i in exact)) >= (
        len(greedy),
        -sum(areas[i] for i in greedy),
    )


def test_64_sets_on_a_cycle_are_solved_exactly():
    conflicts = [1 << (i + 1) % 64 | 1 << (i - 1) % 64 for i in range(64)]
    assert len(independent_set([1] * 64, conflicts)) == 32


def test_64_sets_in_pairs_of_equal_area_are_solved_exactly():
    conflicts = [1 << (i ^ 1) for i in range(64)]
    assert independent_set([10] * 64, conflicts) == tuple(range(0, 64, 2))


def squares(*places):
    masks = []
    for row, column in places:
        mask = torch.zeros(12, 12, dtype=torch.bool)
        mask[row : row + 3, column : column + 3] = True
        masks.append(mask)
    return masks


def test_dice_of_equal_disjoint_and_half_overlapping_sets():
    dice = dice_matrix(squares((0, 0), (0, 0), (6, 6), (0, 1)))
    assert dice[0].tolist() == pytest.approx([1.0, 1.0, 0.0, 2 / 3])


def test_empty_sets_and_duplicates_never_enter_the_family():
    masks = [torch.zeros(12, 12, dtype=torch.bool), *squares((0, 0), (0, 0), (6, 6))]
    assert select_family(masks, 1.0) == ((1, 3), True)


def test_no_sets_make_an_empty_family():
    assert select_family([], 0.0) == ((), True)
