from itertools import chain, combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.explainers.clear_image.lattice import all_masks, minimal_sets, shapley
from xaiserve.explainers.clear_image.masks import (
    foreground_sets,
    grid_counts,
    minimal,
    mutants,
    only,
    random_masks,
    without,
)
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.sufficiency import sufficient_by_regression
from xaiserve.explainers.clear_image.table import Boundary, Table
from xaiserve.models.spec import Rule
from xaiserve.perturb.plan import Done, step
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys

KEYS = Keys.root(0, "masks")


@pytest.mark.parametrize(("segments", "reachable"), [(3, 8), (4, 16), (5, 31)])
def test_a_thousand_draws_reach_every_mask_that_can_be_drawn(segments, reachable):
    drawn = random_masks(1000, segments, 4, KEYS)
    assert len(np.unique(drawn, axis=0)) == reachable


def test_draws_replace_at_most_four_and_the_first_is_the_image():
    drawn = random_masks(1000, 12, 4, KEYS)
    assert drawn[0].all()
    assert set((~drawn[1:]).sum(axis=1)) == {1, 2, 3, 4}


def test_grid_masks_replace_foreground_only():
    masks = without(foreground_sets(5, 2), 5)
    assert len(masks) == 6 == grid_counts(5, 2)[1]
    assert masks[:, 0].all()
    assert ((~masks).sum(axis=1) == 2).all()
    assert (only(foreground_sets(5, 2), 5) == ~masks).all()


def test_both_mutants_of_a_draw_differ_in_strict_and_are_equal_in_parity():
    informative = random_masks(50, 8, 4, KEYS)
    strict = mutants(informative, 200, KEYS, parity=False)
    parity = mutants(informative, 200, KEYS, parity=True)
    assert (parity[::2] == parity[1::2]).all()
    assert (strict[::2] == parity[::2]).all()
    assert (strict[::2] != strict[1::2]).any(axis=1).mean() > 0.9


def test_a_first_mutant_has_its_chosen_bits_at_the_opposite_of_the_first():
    informative = np.array([[True, False, True, False]])
    made = mutants(informative, 300, KEYS, parity=False)[::2]
    moved = made != informative
    # All bits that moved now have one value: the opposite of what the first chosen one was.
    assert all(len(set(row[changed])) == 1 for row, changed in zip(made, moved, strict=True))
    assert (moved.sum(axis=1) >= 1).all()


def test_counterfactuals_that_hold_another_one_are_dropped():
    assert minimal([(1,), (1, 3), (2, 3)], parity=False) == [(1,), (2, 3)]
    assert minimal([(1, 3), (1, 2, 3)], parity=False) == [(1, 3)]


def test_parity_overlooks_members_that_do_not_stand_together():
    assert minimal([(1, 3), (1, 2, 3)], parity=True) == [(1, 3), (1, 2, 3)]
    assert minimal([(1,), (1, 3), (2, 3)], parity=True) == [(1,), (2, 3)]


def subsets(segments):
    sizes = range(segments + 1)
    return chain.from_iterable(combinations(range(segments), size) for size in sizes)


def number(members):
    return sum(1 << each for each in members)


@given(seed=st.integers(0, 10_000), segments=st.integers(1, 5), share=st.floats(0.05, 0.9))
@settings(max_examples=40, deadline=None)
def test_minimal_sets_equal_those_found_by_comparing_all_pairs(seed, segments, share):
    holds = np.random.default_rng(seed).random(1 << segments) < share
    true = [each for each in subsets(segments) if holds[number(each)]]
    expected = [each for each in true if not any(set(less) < set(each) for less in true)]
    assert minimal_sets(holds, segments) == tuple(expected)


@given(seed=st.integers(0, 10_000), segments=st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_shapley_values_share_out_the_whole_difference(seed, segments):
    values = np.random.default_rng(seed).random(1 << segments)
    found = shapley(values, segments)
    np.testing.assert_allclose(found.sum(), values[-1] - values[0], atol=1e-12)


def test_shapley_values_of_a_sum_are_its_summands():
    worth = np.array([0.1, 0.3, -0.2])
    np.testing.assert_allclose(shapley(all_masks(3) @ worth, 3), worth, atol=1e-12)


def test_three_segments_of_the_archived_report_are_sufficient():
    weights = {
        (1,): 12.65227138,
        (7,): 13.74621590,
        (4,): 11.98702242,
        (0,): 3.21844224,
        (3,): 1.59756022,
    }
    found = sufficient_by_regression(-4.13195053, weights, ClearOptions())
    assert {each.segments for each in found} == {(1,), (7,), (4,)}


def test_pairs_are_listed_where_no_segment_suffices():
    weights = {(1,): 5.0, (2,): 5.0, (3,): -1.0}
    found = sufficient_by_regression(-4.0, weights, ClearOptions())
    assert [each.segments for each in found] == [(1, 2)]
    assert sufficient_by_regression(-4.0, weights, ClearOptions(max_sufficient_causes=1)) == ()


LABELS = torch.arange(4).view(2, 2).repeat_interleave(16, 0).repeat_interleave(16, 1)
SCENE = Scene(
    torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 32, 32)
)


def table(labels=LABELS, segments=4):
    return Table(SCENE, labels, segments, Boundary("boundary", 0.5, Rule(), 1), (0.99,))


def answered(plan, own):
    """Answer a plan with ``own(keep)``, the target's score; return the questions."""
    asked, turn = [], step(plan)
    while not isinstance(turn, Done):
        asked.append(turn)
        keeps = [part.keep for part in getattr(turn, "parts", (turn,))]
        scores = torch.cat([own(keep) for keep in keeps]).float()
        turn = step(plan, torch.stack([1 - scores, scores], dim=1))
    return asked


def by_count(keep):
    return 0.12 + 0.2 * keep.sum(dim=1)


def test_a_mask_is_asked_once():
    one = table()
    masks = random_masks(500, 4, 4, KEYS)
    assert sum(map(len, answered(one.ask(masks), by_count))) == len(one) <= 16
    assert answered(one.ask(masks), by_count) == []
    assert one.issued == 1000
    np.testing.assert_allclose(one.p(masks), 0.12 + 0.2 * masks.sum(axis=1), atol=1e-6)


def test_a_row_near_the_boundary_is_asked_again_alone():
    one = table()
    first, second = answered(
        one.ask(all_masks(4)), lambda keep: 0.1 + 0.2001 * keep.sum(dim=1) * 0.9997
    )
    assert len(first) == 16
    assert all(part.alone for part in second.parts)
    assert len(second) == 6


def test_what_is_to_be_released_is_asked_alone_once():
    one = table()
    masks = all_masks(4)[:3]
    answered(one.ask(masks), by_count)
    (again,) = answered(one.confirm(masks), by_count)
    assert again.alone
    assert answered(one.confirm(masks), by_count) == []


def test_segments_without_pixels_are_not_asked_about():
    labels = LABELS + 1
    one = table(labels, 5)
    answered(one.ask(all_masks(5)), by_count)
    assert len(one) == 16


@pytest.mark.parametrize("batch", [1, 3])
def test_questions_are_of_bounded_size(batch):
    labels = torch.arange(1024).view(32, 32) % 12
    one = table(labels, 12)
    asked = answered(one.ask(random_masks(batch * 1000, 12, 4, KEYS)), lambda k: 0.05 * k.sum(1))
    assert max(map(len, asked)) <= 256


def test_a_class_of_many_keeps_its_label_while_it_is_the_top_one():
    scores = torch.tensor([[0.3, 0.4, 0.3], [0.45, 0.4, 0.15]])
    boundary = Boundary.of(Rule(), 1, 3, None)
    assert boundary.keeps(scores).tolist() == [True, False]
    stated = Boundary.of(Rule(), 1, 3, 0.35)
    assert stated.keeps(scores).tolist() == [True, True]


def test_a_class_with_a_threshold_keeps_its_label_from_there_on():
    boundary = Boundary.of(Rule(thresholds=(0.5, 0.2)), 1, 2, None)
    assert (boundary.kind, boundary.value) == ("threshold", 0.2)
    assert boundary.keeps(torch.tensor([[0.9, 0.25], [0.9, 0.15]])).tolist() == [True, False]
