"""The exact family against the power set."""

from itertools import combinations

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
