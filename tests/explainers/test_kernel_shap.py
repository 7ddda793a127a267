import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.explainers.baselines._coalitions import coalitions, size_mass
from xaiserve.explainers.baselines._regression import sharing
from xaiserve.explainers.baselines.kernel_shap import KernelShap
from xaiserve.perturb.plan import Stop, step, stop
from xaiserve.perturb.rng import Keys
from xaiserve.testing.contracts import ExplainerContract, explain
from xaiserve.testing.toys import (
    any_classifier,
    brightness_classifier,
    constant_classifier,
    k_of_n_classifier,
    toy_case,
    toy_image,
)

IMAGE = toy_image(24)
KEYS = Keys.root(0, "")
QUARTERS = [(2, 10, 2, 10), (2, 10, 14, 22), (14, 22, 2, 10), (14, 22, 14, 22)]


class TestKernelShap(ExplainerContract):
    explainer = KernelShap(samples=200, segmentation="grid", segments=36)
    max_inputs = 200


def shapley(value, players):
    """Definition: the mean marginal contribution over all orders of arrival."""
    found = [0.0] * players
    for player in range(players):
        others = [p for p in range(players) if p != player]
        for size in range(players):
            weight = math.factorial(size) * math.factorial(players - size - 1)
            for group in itertools.combinations(others, size):
                gain = value[frozenset({*group, player})] - value[frozenset(group)]
                found[player] += weight / math.factorial(players) * gain
    return found


def all_scores(classifier, labels, segments):
    """Score every subset of the segments, each over black."""
    groups = [
        frozenset(group)
        for size in range(segments + 1)
        for group in itertools.combinations(range(segments), size)
    ]
    shown = torch.stack([torch.isin(labels, torch.tensor([-1, *group])) for group in groups])
    return dict(zip(groups, classifier.scores(IMAGE * shown[:, None])[:, 1].tolist(), strict=True))


@pytest.mark.parametrize(
    "classifier",
    [
        any_classifier(IMAGE, QUARTERS[:2]),
        k_of_n_classifier(IMAGE, QUARTERS[:3], 2),
        k_of_n_classifier(IMAGE, QUARTERS, 4),
        brightness_classifier(IMAGE, 0.3),
    ],
    ids=["or", "two of three", "and", "brightness"],
)
@pytest.mark.parametrize("segments", [4, 9])
def test_equals_the_shapley_values_when_all_coalitions_are_affordable(classifier, segments):
    explainer = KernelShap(samples=2**segments, segmentation="grid", segments=segments)
    found = explain(explainer, toy_case(classifier, IMAGE), classifier)
    expected = shapley(all_scores(classifier, found.labels, segments), segments)
    torch.testing.assert_close(found.effects, torch.tensor(expected), atol=1e-5, rtol=0)
    assert float(found.effects.sum()) == pytest.approx(found.whole - found.nothing, abs=1e-6)


def test_equal_segments_share_equally():
    classifier = k_of_n_classifier(IMAGE, QUARTERS, 4)
    explainer = KernelShap(samples=16, segmentation="grid", segments=4)
    found = explain(explainer, toy_case(classifier, IMAGE), classifier)
    torch.testing.assert_close(found.effects, torch.full((4,), 0.2), atol=1e-6, rtol=0)


@settings(max_examples=25, deadline=None)
@given(segments=st.integers(2, 12), rows=st.integers(0, 30), seed=st.integers(0, 100))
def test_effects_share_out_the_whole_whatever_was_asked(segments, rows, seed):
    generator = Keys.root(seed, "").generator()
    keep = torch.from_numpy(generator.random((rows, segments)) < 0.5)
    scores = torch.from_numpy(generator.random(rows)).float()
    weights = torch.from_numpy(generator.random(rows))
    effects = sharing(keep, scores, weights, nothing=0.2, whole=0.9)
    assert float(effects.sum()) == pytest.approx(0.7, abs=1e-9)


def test_effects_are_equal_when_nothing_was_asked():
    none = torch.empty(0)
    found = sharing(
        torch.empty(0, 5, dtype=torch.bool), none, none.double(), nothing=0.0, whole=1.0
    )
    torch.testing.assert_close(found, torch.full((5,), 0.2, dtype=torch.float64))


@settings(max_examples=25, deadline=None)
@given(segments=st.integers(1, 14), budget=st.integers(2, 200))
def test_coalitions_are_distinct_proper_and_affordable(segments, budget):
    keep, weights = coalitions(segments, budget, KEYS)
    assert len(keep) == len(weights) <= budget
    sizes = keep.sum(dim=1)
    assert bool(((sizes > 0) & (sizes < segments)).all())
    assert len(torch.unique(keep, dim=0)) == len(keep)
    assert bool((weights > 0).all())
    if segments > 1 and budget >= 2 * segments + 2:
        assert float(weights.sum()) == pytest.approx(1)


@settings(max_examples=25, deadline=None)
@given(segments=st.integers(2, 7))
def test_all_coalitions_are_enumerated_with_the_kernels_weights_when_affordable(segments):
    keep, weights = coalitions(segments, 2**segments - 2, KEYS)
    assert len(keep) == 2**segments - 2
    kernel = [
        (segments - 1) / (math.comb(segments, k) * k * (segments - k))
        for k in keep.sum(dim=1).tolist()
    ]
    expected = torch.tensor(kernel, dtype=torch.float64)
    torch.testing.assert_close(weights, expected / expected.sum())


def test_sampled_coalitions_come_with_their_complement_and_weigh_as_the_kernel_says():
    keep, weights = coalitions(20, 5000, KEYS)
    rows = {tuple(row) for row in keep.tolist()}
    assert all(tuple(not shown for shown in row) in rows for row in rows)
    by_size = torch.zeros(21, dtype=torch.float64).index_add_(0, keep.sum(dim=1), weights)
    expected = torch.tensor(size_mass(20), dtype=torch.float64)
    torch.testing.assert_close(by_size, expected, atol=0.01, rtol=0)


def test_sampling_comes_near_the_exact_values():
    classifier = k_of_n_classifier(IMAGE, QUARTERS[:3], 2)
    case = toy_case(classifier, IMAGE)
    exact = explain(KernelShap(samples=512, segmentation="grid", segments=9), case, classifier)
    drawn = explain(KernelShap(samples=300, segmentation="grid", segments=9), case, classifier)
    torch.testing.assert_close(drawn.effects, exact.effects, atol=0.03, rtol=0)


def test_one_segment_takes_all():
    classifier = brightness_classifier(IMAGE, 0.3)
    explainer = KernelShap(segmentation="grid", segments=1)
    found = explain(explainer, toy_case(classifier, IMAGE), classifier)
    assert classifier.rows == 2
    assert float(found.effects) == pytest.approx(found.whole - found.nothing)


def test_a_stopped_run_still_shares_out_the_whole():
    classifier = brightness_classifier(IMAGE, 0.3)
    plan = KernelShap(samples=600, segmentation="grid", segments=25).plan(
        toy_case(classifier, IMAGE), KEYS
    )
    step(plan)
    query = step(plan, torch.tensor([[0.1, 0.9], [0.8, 0.2]]))
    step(plan, torch.full((len(query), 2), 0.5))
    found = stop(plan, "inputs").value
    assert float(found.effects.sum()) == pytest.approx(0.7, abs=1e-6)


def test_a_run_stopped_before_its_first_answer_has_nothing():
    plan = KernelShap().plan(toy_case(constant_classifier(IMAGE), IMAGE), KEYS)
    step(plan)
    with pytest.raises(Stop):
        stop(plan, "seconds")
