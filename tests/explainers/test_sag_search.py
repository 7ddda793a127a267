"""The parts of SAG against slow twins: the ordering, the beam search, the family, the graph."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from xaiserve.explainers.baselines.sag.beam import Patchwork, best, find_roots, stripped
from xaiserve.explainers.baselines.sag.ordering import Objective, line_search, order_mask
from xaiserve.explainers.baselines.sag.roots import graph, largest_family
from xaiserve.perturb.drive import run
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys
from xaiserve.testing.contracts import exhaust
from xaiserve.testing.toys import (
    EVIDENCE,
    ToyClassifier,
    light_classifier,
    toy_case,
    toy_image,
    toy_spec,
)

CELLS = 4
IMAGE = toy_image(13, seed=5)
BLACK = Scene(IMAGE, torch.zeros_like(IMAGE))
seeds = st.integers(0, 10_000)


def wild_classifier(seed):
    """Score by a random smooth function of the picture's pooled brightness, not monotone."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    first, second = (
        torch.from_numpy(generator.normal(0.5, 1, size).astype(np.float32))
        for size in ((16, 8), (8,))
    )

    def function(images):
        pooled = functional.adaptive_avg_pool2d(images.mean(1, keepdim=True), 4).flatten(1)
        # One row at a time: the twin below asks so, and products of other sizes round otherwise.
        hidden = torch.cat([torch.tanh(4 * row @ first) for row in pooled.unsqueeze(1)])
        own = torch.sigmoid(2 * (hidden * second).sum(1))
        return torch.stack([1 - own, own], dim=1)

    return ToyClassifier(f"wild {seed}", toy_spec(IMAGE), function)


def slow_score(classifier, patches):
    """One picture per question, enlarged by torch."""
    grid = torch.zeros(1, 1, CELLS**2)
    grid[0, 0, list(patches)] = 1
    share = functional.interpolate(
        grid.view(1, 1, CELLS, CELLS), size=(13, 13), mode="bilinear", align_corners=True
    )
    return float(classifier.scores(IMAGE * share)[0, EVIDENCE])


def slow_strip(score, patches, floor):
    """Try the patches one after the other until a whole pass takes none."""
    while True:
        before = patches
        for patch in before:
            less = tuple(one for one in patches if one != patch)
            if score(less) > floor:
                patches = less
        if patches == before:
            return patches


def slow_roots(score, order, floor, *, successors, width, most):
    """Section 4 of the paper in the words of the spec, one state at a time."""
    roots, beam = [], [()]
    while beam:
        level = set()
        for state in beam:
            unused = [patch for patch in order if patch not in state]
            level |= {tuple(sorted((*state, patch))) for patch in unused[:successors]}
        passing = {state for state in level if score(state) > floor}
        new = {slow_strip(score, state, floor) for state in passing} - {*roots}
        roots += sorted(new, key=lambda one: (-score(one), one))
        if len(roots) > most:
            break
        beam = sorted(level - passing, key=lambda one: (-score(one), one))[:width]
    return roots


@settings(max_examples=12, deadline=None)
@given(seed=seeds, width=st.integers(1, 4), successors=st.integers(1, 8), most=st.integers(1, 20))
def test_the_beam_search_equals_a_slow_twin(seed, width, successors, most):
    classifier = wild_classifier(seed)
    order = Keys.root(seed, "").generator().permutation(CELLS**2).tolist()
    floor = 0.9 * slow_score(classifier, range(CELLS**2))
    roots = []
    plan = find_roots(
        patchwork(classifier),
        order,
        floor=floor,
        successors=successors,
        width=width,
        most=most,
        roots=roots,
    )
    run(plan, classifier)
    twin = slow_roots(
        lambda one: slow_score(classifier, one),
        order,
        floor,
        successors=successors,
        width=width,
        most=most,
    )
    assert [root.patches for root in roots] == twin


def patchwork(classifier):
    return Patchwork(BLACK, toy_case(classifier, IMAGE), CELLS)


@settings(max_examples=12, deadline=None)
@given(seed=seeds)
def test_stripping_many_sets_together_equals_one_patch_at_a_time(seed):
    classifier = wild_classifier(seed)
    score = lambda one: slow_score(classifier, one)  # noqa: E731 -- one line says it
    floor = 0.8 * score(range(CELLS**2))
    sets = [one for one in [(*range(12),), (*range(3, 16),), (0, 5, 9)] if score(one) > floor]
    found = run(stripped(patchwork(classifier), sets, floor), classifier)
    assert found == list(dict.fromkeys(slow_strip(score, one, floor) for one in sets))


def test_no_set_is_asked_twice_except_alone():
    classifier = wild_classifier(7)
    floor = 0.9 * slow_score(classifier, range(CELLS**2))
    board, roots = patchwork(classifier), []
    asked = classifier.rows
    run(
        find_roots(board, range(16), floor=floor, successors=8, width=3, most=10, roots=roots),
        classifier,
    )
    assert classifier.rows - asked <= len(board._scores) + len(board._verified)


def test_states_closer_than_company_moves_a_score_are_told_apart_alone():
    def function(images):
        # Company lowers every score by a little; alone, the last patch is the best.
        own = 0.5 + 1e-6 * images.mean((1, 2, 3)) - 1e-5 * (len(images) > 1)
        return torch.stack([1 - own, own], dim=1)

    classifier = ToyClassifier("company", toy_spec(IMAGE), function)
    board = patchwork(classifier)
    states = [(patch,) for patch in range(CELLS**2)]
    kept = run(best_of(board, states, 2), classifier)
    alone = {one: slow_score(classifier, one) for one in states}
    assert kept == sorted(sorted(states, key=lambda one: (-alone[one], one))[:2])


def best_of(board, states, width):
    return best(board, states, width, bound=2.0)


roots_of_patches = st.lists(
    st.frozensets(st.integers(0, 11), max_size=5).map(lambda one: tuple(sorted(one))),
    max_size=9,
    unique=True,
)


@settings(max_examples=150, deadline=None)
@given(roots=roots_of_patches, shared=st.integers(0, 2))
def test_the_family_is_the_first_of_the_largest(roots, shared):
    full = [index for index, one in enumerate(roots) if one]
    families = (
        family
        for size in range(len(full), -1, -1)
        for family in itertools.combinations(full, size)
        if all(
            len({*roots[i]} & {*roots[j]}) <= shared for i, j in itertools.combinations(family, 2)
        )
    )
    assert largest_family(roots, shared) == next(families)


def test_three_bundles_of_fifteen_roots_and_ten_single_ones_are_no_burden():
    bundles = [(base, base + 1, 40 + i) for base in (0, 2, 4) for i in range(15)]
    singles = [(20 + i,) for i in range(10)]
    assert len(largest_family([*bundles, *singles], 1)) == 13


@settings(max_examples=12, deadline=None)
@given(seed=seeds, children=st.integers(1, 4))
def test_the_graph_holds_each_set_once_and_every_step_takes_one_patch(seed, children):
    classifier = wild_classifier(seed)
    roots = [(0, 1, 5, 9, 12), (2, 3, 5)]
    bound = 0.6 * slow_score(classifier, range(CELLS**2))
    nodes, edges = run(
        graph(patchwork(classifier), roots, bound=bound, children=children), classifier
    )
    sets = [node.patches for node in nodes]
    assert sets[:2] == roots
    assert len({*sets}) == len(sets)
    assert len({*edges}) == len(edges)
    for place, node in enumerate(nodes):
        assert node.confidence == slow_score(classifier, node.patches)
        below = {sets[child] for parent, child in edges if parent == place}
        goes_on = node.confidence > bound and len(node.patches) > 1
        taken = node.patches[:children] if goes_on else ()
        assert below == {tuple(one for one in node.patches if one != gone) for gone in taken}


LIGHT = toy_image(24, light=(4, 12, 8, 16))


def light_objective(**options):
    spec = replace(toy_spec(LIGHT, mean=0.4, std=0.2), activation="softmax")
    model = light_classifier(LIGHT, spec=spec)
    scene = Scene(LIGHT, model.spec.neutral.expand_as(LIGHT).clone())
    settings_of = {"hiding": 1.0, "roughness": 20.0, "exponent": 2.0} | options
    return Objective(model=model, scene=scene, target=EVIDENCE, **settings_of)


def slow_value(objective, mask):
    """The mask's objective, term by term."""
    cells = len(mask)
    down = sum(
        abs(mask[i + 1, j] - mask[i, j]) ** 2 for i in range(cells - 1) for j in range(cells)
    )
    right = sum(
        abs(mask[i, j + 1] - mask[i, j]) ** 2 for i in range(cells) for j in range(cells - 1)
    )
    rough = (down + right) / (cells * (cells - 1))
    share = functional.interpolate(
        mask[None, None], size=(24, 24), mode="bilinear", align_corners=True
    )
    scene = objective.scene
    shown = scene.image * share + scene.fill * (1 - share)
    score = objective.model.scores(shown)[0, EVIDENCE]
    return objective.hiding * (1 - mask).mean() + objective.roughness * rough + score


def test_the_objective_is_the_score_and_its_two_penalties():
    objective = light_objective(hiding=0.7, roughness=3.0)
    mask = torch.from_numpy(Keys.root(1, "").generator().random((5, 5)).astype(np.float32))
    assert objective.value(mask) == pytest.approx(float(slow_value(objective, mask)), abs=1e-5)


def test_the_gradient_averages_over_shares_of_the_mask_with_noise_on_each():
    objective = light_objective()
    mask = torch.full((3, 3), 0.9).requires_grad_()
    noise = Keys.root(2, "").generator().normal(0, 0.2, (4, 3, 24, 24)).astype(np.float32)
    loss = objective.penalty(mask)
    for k in range(4):
        share = functional.interpolate(
            (k + 1) / 4 * mask[None, None], size=(24, 24), mode="bilinear", align_corners=True
        )
        scene, model = objective.scene, objective.model
        shown = model.spec.normalise(scene.image * share + scene.fill * (1 - share))
        loss = loss + model.module(shown + torch.from_numpy(noise[k])).softmax(1)[0, EVIDENCE] / 4
    (expected,) = torch.autograd.grad(loss, mask)
    draws = Keys.root(2, "").generator()
    _, slope = exhaust(objective.integrated_gradient(mask.detach(), 4, draws))
    torch.testing.assert_close(slope, expected, rtol=1e-4, atol=1e-6)


def test_the_line_search_takes_the_longest_step_that_lowers_the_objective_enough():
    objective = light_objective(roughness=0.0)
    mask, slope = torch.full((3, 3), 0.8), torch.zeros(3, 3)
    slope[1, 1] = 0.01
    _, moved = exhaust(line_search(objective, mask, slope))
    start = objective.value(mask)
    for k in range(20):
        length = 200 * 0.2**k
        trial = (mask - length * slope).clamp(0, 1)
        if objective.value(trial) <= start - 1e-4 * length * float(slope.square().sum()):
            break
    torch.testing.assert_close(moved, trial)


def order(**options):
    settings_of = {"iterations": 2, "steps": 20, "descent": "line-search", "rate": 0.1} | options
    return exhaust(order_mask(light_objective(), 7, Keys.root(0, ""), **settings_of))[1]


def test_the_order_starts_with_the_patches_over_the_light():
    first = order().flatten().argsort(stable=True)[:4].tolist()
    centres = [divmod(patch, 7) for patch in first]
    # The light covers rows 4 to 12 and columns 8 to 16 of 24; centres are 23 / 6 pixels apart.
    assert all(1 <= row <= 3 and 2 <= column <= 4 for row, column in centres)


def test_adam_s_first_step_is_its_rate_down_every_slope_and_stays_in_bounds():
    draws = Keys.root(0, "").child("noise", 0).generator()
    _, slope = exhaust(light_objective().integrated_gradient(torch.ones(7, 7), 20, draws))
    expected = (1 - 0.1 * slope.sign()).clamp(max=1)
    torch.testing.assert_close(order(descent="adam", iterations=1), expected)
