"""Contrastive and complete sets on classifiers whose answer is known, and against brute force."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from xaiserve.explainers.multirex.contrastive import UNIONS, Contrast
from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.ranking import ranking
from xaiserve.explainers.multirex.results import Extras
from xaiserve.perturb.drive import run
from xaiserve.perturb.plan import Goal
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys
from xaiserve.testing import toys

SIDE = 24
PIXELS = SIDE * SIDE
IMAGE = toys.toy_image(SIDE)
PATCHES = [(2, 7, 2, 7), (2, 7, 17, 22), (17, 22, 2, 7)]
OPTIONS = MultiRexOptions(chunk=8, contrastive=True, complete=True)
WALKS = ["every", "bracket"]


def random_map(seed=0):
    drawn = Keys.root(seed, "map").generator().random((SIDE, SIDE))
    return torch.from_numpy(drawn.astype(np.float32))


def patch_mask(*patches):
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    for r0, r1, c0, c1 in patches:
        mask[r0:r1, c0:c1] = True
    return mask


def bright(*patches):
    """A map that is highest on the patches."""
    return random_map() + patch_mask(*patches).float()


def scores(classifier, mask):
    return classifier.scores(torch.where(mask, IMAGE, torch.zeros_like(IMAGE)).unsqueeze(0))[0]


def has_label(classifier, mask):
    return int(scores(classifier, mask).argmax()) == toys.EVIDENCE


def contrast(classifier, saliency, options=OPTIONS, tau=0.0):
    case = toys.toy_case(classifier, IMAGE)
    confidence = float(classifier.scores(IMAGE.unsqueeze(0))[0, toys.EVIDENCE])
    scene = Scene(IMAGE, torch.zeros_like(IMAGE))
    goal = Goal(case.rule, case.target, tau * confidence)
    return Contrast(scene, goal, confidence, ranking(saliency), options)


def first_contrastive(classifier, rank, chunk, floor=0.0):
    """The definition, size by size."""
    for size in [*range(chunk, PIXELS, chunk), PIXELS]:
        mask = rank < size
        enough = float(scores(classifier, mask)[toys.EVIDENCE]) >= floor
        if enough and has_label(classifier, mask) and not has_label(classifier, ~mask):
            return mask
    return None


def is_contrastive(classifier, mask):
    return has_label(classifier, mask) and not has_label(classifier, ~mask)


def peaked_classifier():
    """Evidence is decided for pictures of middle brightness only, so that no law is monotone."""

    def function(images):
        mean = images.flatten(1).mean(dim=1)
        own = torch.exp(-(((mean - 0.3) / 0.1) ** 2)) * 0.5 + (mean > 0.45).float() * 0.45
        return torch.stack([1 - own, own], dim=1)

    return toys.ToyClassifier("peaked", toys.toy_spec(IMAGE), function)


@pytest.mark.parametrize("walk", WALKS)
def test_of_one_patch_the_contrastive_prefix_is_the_sufficient_one(walk):
    classifier = toys.patch_classifier(IMAGE, PATCHES[0])
    searched = contrast(classifier, bright(PATCHES[0]), replace(OPTIONS, walk=walk))
    found = run(searched.contrastive(), classifier)
    assert found.found
    assert found.area_px == found.ranked_px == math.ceil(25 / 8) * 8
    assert (found.rest_class, found.confidence) == (0, pytest.approx(toys.SEEN))
    assert found.rest_confidence == pytest.approx(toys.SEEN)
    assert found.area_fraction == found.area_px / PIXELS


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("k", [2, 3])
def test_of_alternatives_the_contrastive_prefix_meets_every_one(walk, k):
    classifier = toys.any_classifier(IMAGE, PATCHES[:k])
    searched = contrast(classifier, random_map(), replace(OPTIONS, walk=walk))
    found = run(searched.contrastive(), classifier)
    assert is_contrastive(classifier, found.mask)
    assert all(bool((found.mask & patch_mask(patch)).any()) for patch in PATCHES[:k])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "make", [peaked_classifier, lambda: toys.brightness_classifier(IMAGE, 0.3)]
)
def test_trying_every_prefix_finds_the_first_contrastive_one(make, seed):
    classifier = make()
    searched = contrast(classifier, random_map(seed), replace(OPTIONS, walk="every"))
    found = run(searched.contrastive(), classifier)
    expected = first_contrastive(classifier, searched.rank, 8)
    assert found.found == (expected is not None)
    if found.found:
        assert torch.equal(found.mask, expected)


@pytest.mark.parametrize("seed", range(3))
def test_a_bracket_ends_at_a_contrastive_prefix_whose_last_step_is_needed(seed):
    classifier = toys.any_classifier(IMAGE, PATCHES)
    searched = contrast(classifier, random_map(seed))
    found = run(searched.contrastive(), classifier)
    assert is_contrastive(classifier, found.mask)
    assert not is_contrastive(classifier, searched.rank < found.area_px - 8)
    assert classifier.rows < 2 * 40


def test_contrastive_tau_asks_for_more_confidence_than_the_sets_need():
    classifier = toys.brightness_classifier(IMAGE, 0.3)
    options = replace(OPTIONS, walk="every", contrastive_tau=0.95)
    searched = contrast(classifier, random_map(), options)
    found = run(searched.contrastive(), classifier)
    assert found.confidence >= 0.95 * searched.confidence
    floor = 0.95 * searched.confidence
    assert torch.equal(found.mask, first_contrastive(classifier, searched.rank, 8, floor))


@pytest.mark.parametrize("walk", WALKS)
def test_a_label_that_nothing_removes_has_no_contrastive_set_and_no_complete_one(walk):
    classifier = toys.constant_classifier(IMAGE)
    extras = Extras()
    run(contrast(classifier, random_map(), replace(OPTIONS, walk=walk)).run([], extras), classifier)
    assert not extras.contrastive.found
    assert not extras.complete.found
    assert not extras.contrastive_union.found
    assert extras.contrastive.confidence is None
    assert not bool(extras.complete.mask.any())


@pytest.mark.parametrize("walk", WALKS)
def test_a_complete_set_meets_the_whole_images_confidence_from_the_rankings_end(walk):
    classifier = toys.brightness_classifier(IMAGE, 0.3)
    searched = contrast(classifier, random_map(), replace(OPTIONS, walk=walk))
    core = run(searched.contrastive(), classifier)
    found = run(searched.complete(core), classifier)
    assert found.found
    assert abs(found.confidence - searched.confidence) <= 0.005
    own = scores(classifier, found.mask)
    assert float(own[toys.EVIDENCE]) == pytest.approx(found.confidence)
    assert torch.equal(found.mask, core.mask | found.adjustment)
    added = int(found.adjustment.sum())
    assert torch.equal(found.adjustment, searched.rank >= PIXELS - added)
    alone = scores(classifier, found.adjustment)
    assert found.adjustment_class == int(alone.argmax())
    assert found.adjustment_confidence == pytest.approx(float(alone.max()))
    # One step less is too little, and with every step tried so is each smaller adjustment.
    fewer = range(added - 8, added - 7) if walk == "bracket" else range(8, added, 8)
    for less in fewer:
        mask = core.mask | (searched.rank >= PIXELS - less)
        apart = abs(float(scores(classifier, mask)[toys.EVIDENCE]) - searched.confidence)
        assert apart > 0.005


def test_a_contrastive_set_of_full_confidence_is_complete_as_it_is():
    classifier = toys.patch_classifier(IMAGE, PATCHES[0])
    searched = contrast(classifier, bright(PATCHES[0]))
    core = run(searched.contrastive(), classifier)
    before = classifier.rows
    found = run(searched.complete(core), classifier)
    assert classifier.rows == before
    assert torch.equal(found.mask, core.mask)
    assert not bool(found.adjustment.any())
    assert found.adjustment_class is None


@pytest.mark.parametrize(
    ("make", "members"),
    [
        (lambda: toys.any_classifier(IMAGE, PATCHES[:1]), (0,)),
        (lambda: toys.any_classifier(IMAGE, PATCHES[:2]), (0, 1)),
        (lambda: toys.any_classifier(IMAGE, PATCHES[1:]), (1, 2)),
        (lambda: toys.any_classifier(IMAGE, PATCHES), (0, 1, 2)),
    ],
)
def test_the_smallest_union_whose_removal_loses_the_label_is_found(make, members):
    classifier = make()
    masks = [patch_mask(patch) for patch in PATCHES]
    found = run(contrast(classifier, random_map()).union(masks), classifier)
    assert found.members == members
    assert torch.equal(found.mask, patch_mask(*(PATCHES[i] for i in members)))
    assert is_contrastive(classifier, found.mask)


def test_unions_of_overlapping_sets_are_unions():
    classifier = toys.k_of_n_classifier(IMAGE, PATCHES, 2)
    masks = [patch_mask(PATCHES[0]), patch_mask(*PATCHES[:2]), patch_mask(*PATCHES[1:])]
    found = run(contrast(classifier, random_map()).union(masks), classifier)
    assert found.members == (1,)
    found = run(contrast(classifier, random_map()).union(masks[::2]), classifier)
    assert found.members == (1,)


def test_unions_end_at_their_bound():
    classifier = toys.constant_classifier(IMAGE)
    masks = [random_map(seed) > 0.9 for seed in range(12)]
    found = run(contrast(classifier, random_map()).union(masks), classifier)
    assert not found.found
    assert classifier.rows == 2 * UNIONS + 1  # the whole image


@pytest.mark.parametrize("max_rows", [1, 7])
def test_does_not_depend_on_the_batch_size(max_rows):
    classifier = toys.brightness_classifier(IMAGE, 0.3)

    def found(rows):
        extras = Extras()
        masks = [random_map(seed) > 0.5 for seed in range(3)]
        run(contrast(classifier, random_map()).run(masks, extras), classifier, max_rows=rows)
        return extras

    one, other = found(max_rows), found(64)
    assert torch.equal(one.contrastive.mask, other.contrastive.mask)
    assert torch.equal(one.complete.mask, other.complete.mask)
    assert one.contrastive_union.members == other.contrastive_union.members
