"""The CLEAR Image set: shares, rejection rules and truth, each checked on the pixels."""

from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from itertools import product

import numpy as np
import pytest
from scipy.ndimage import binary_dilation
from scipy.stats import binomtest, chisquare

from xaiserve.data.sample import Sample
from xaiserve.data.shapes import box
from xaiserve.data.synthetic import (
    PIE,
    PIE_BOX,
    PRESETS,
    draw_features,
    draw_label,
    draw_scenery,
    synthetic_facts,
    synthetic_sample,
    synthetic_samples,
)
from xaiserve.perturb.rng import Keys

TRIES = 4000


@pytest.fixture(scope="module")
def drawn() -> list[Sample]:
    return list(synthetic_samples(seed=3, count=60, preset="script"))


def expected_shares(preset: str) -> dict[frozenset[str], float]:
    """Enumerate the rule by hand: the chance of each diseased feature set, given any feature."""
    shares = PRESETS[preset]
    chances = {}
    for bits in product([False, True], repeat=4):
        on = {name for name, bit in zip(shares, bits, strict=True) if bit}
        chance = np.prod([p if name in on else 1 - p for name, p in shares.items()])
        if "square" in on and on & {"thin ellipse", "triangle"}:
            chances[frozenset(on)] = chance * (0.2 if "rectangle" in on else 1)
    none = np.prod([1 - p for p in shares.values()])
    return {names: float(chance / (1 - none)) for names, chance in chances.items()}


def draw_many(preset: str) -> Counter[frozenset[str]]:
    found: Counter[frozenset[str]] = Counter()
    for index in range(TRIES):
        keys = Keys.root(11, preset).child(index)
        names = draw_features(keys.child("features"), preset)
        if draw_label(keys.child("label"), names) == "diseased":
            found[frozenset(names)] += 1
    return found


@pytest.mark.parametrize(("preset", "share"), [("archived", 0.128), ("script", 0.265)])
def test_as_many_pictures_are_diseased_as_the_rule_says(preset, share):
    assert sum(expected_shares(preset).values()) == pytest.approx(share, abs=5e-4)
    assert binomtest(draw_many(preset).total(), TRIES, share).pvalue > 0.001


@pytest.mark.parametrize("preset", ["archived", "script"])
def test_feature_sets_of_diseased_pictures_have_the_shares_of_the_rule(preset):
    expected, found = expected_shares(preset), draw_many(preset)
    assert set(found) <= set(expected)
    shares = np.array(list(expected.values()))
    counts = np.array([found[names] for names in expected])
    assert chisquare(counts, shares / shares.sum() * counts.sum()).pvalue > 0.001


def test_labels_of_whole_pictures_follow_the_same_rule(drawn):
    for sample in drawn:
        names = {feature.name for feature in sample.features}
        cause = "square" in names and bool(names & {"thin ellipse", "triangle"})
        assert names
        assert sample.label == "healthy" or cause
        assert sample.label == "diseased" or not cause or "rectangle" in names


def test_a_picture_is_the_same_alone_in_any_order_and_in_another_process(drawn):
    with ProcessPoolExecutor(1) as pool:
        there = pool.submit(synthetic_sample, 3, 17, "script").result()
    for again in (synthetic_sample(3, 17, "script"), there):
        assert np.array_equal(again.image, drawn[17].image)
        assert np.array_equal(again.ideal, drawn[17].ideal)
        assert [f.name for f in again.features] == [f.name for f in drawn[17].features]


def test_seeds_presets_and_indices_give_different_pictures():
    first = synthetic_sample(0, 0).image
    for other in (synthetic_sample(1, 0), synthetic_sample(0, 1), synthetic_sample(0, 0, "script")):
        assert not np.array_equal(first, other.image)


def test_ellipses_stay_inside_apart_and_off_the_pie_slice():
    for index in range(60):
        scenery = draw_scenery(Keys.root(5, "scenery").child(index))
        both = scenery.large | scenery.thick
        assert not both[214:].any()
        assert not both[:, 214:].any()
        assert not (binary_dilation(scenery.large, np.ones((3, 3))) & scenery.thick).any()
        assert not (scenery.pie and (both & PIE_BOX).any())
        assert (scenery.thin & ~scenery.thick).sum() == 0
        assert scenery.thin.sum() < scenery.thick.sum() / 2


def test_a_triangle_overlaps_nothing_but_perhaps_the_pie_slice(drawn):
    triangles = [s for s in drawn if "triangle" in {f.name for f in s.features}]
    assert triangles
    for sample in triangles:
        masks = {feature.name: feature.mask for feature in sample.features}
        own = masks.pop("triangle")
        ellipses = (sample.ideal == 255) & ~PIE
        assert not (own & ellipses).any()
        assert not any((own & other).any() for other in masks.values())


def test_the_picture_differs_from_the_ideal_one_only_in_its_features_and_the_pie_slice(drawn):
    for sample in drawn:
        changed = (sample.image != sample.ideal) & ~PIE
        drawn_pixels = np.logical_or.reduce([feature.mask for feature in sample.features])
        assert not (changed & ~drawn_pixels).any()


def test_masks_hold_exactly_the_pixels_that_were_added(drawn):
    for sample in drawn:
        for feature in sample.features:
            if feature.name == "thin ellipse":
                assert (sample.ideal[feature.mask] == 255).all()
                assert 0.3 < (sample.image[feature.mask] == 255).mean() < 0.7
            else:
                white_before = sample.ideal == 255
                added = (sample.image == 255) & feature.mask & ~white_before & ~PIE
                assert np.array_equal(added, feature.mask & ~white_before & ~PIE)


def test_truth_is_the_union_of_features_and_empty_for_healthy_pictures(drawn):
    for sample in drawn:
        if sample.label == "healthy":
            assert not sample.truth.any()
        else:
            assert np.array_equal(
                sample.truth, np.logical_or.reduce([f.mask for f in sample.features])
            )


def test_the_rectangle_touches_the_last_square_only(drawn):
    rectangles = [f for s in drawn for f in s.features if f.name == "rectangle"]
    assert rectangles
    for feature in rectangles:
        assert feature.squares == {48}
        assert np.array_equal(feature.mask, box(200, 200, 210, 220))


def test_a_small_square_touches_the_squares_that_hold_its_corners(drawn):
    for feature in (f for s in drawn for f in s.features if f.name == "square"):
        rows, columns = np.nonzero(feature.mask)
        corners = product((rows.min(), rows.max()), (columns.min(), columns.max()))
        assert feature.squares == {int(y // 32 * 7 + x // 32) for y, x in corners}


def test_facts_are_those_of_the_picture():
    for index in range(40):
        sample = synthetic_sample(2, index)
        names, label = synthetic_facts(2, index)
        assert (tuple(each.name for each in sample.features), sample.label) == (names, label)
