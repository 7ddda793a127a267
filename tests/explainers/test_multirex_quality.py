"""Curves, concentration and robustness against their definitions, one picture at a time."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import simpson

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.multirex import MultiRex, MultiRexExplanation
from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.quality import Quality, concentration
from xaiserve.explainers.multirex.ranking import ranking
from xaiserve.explainers.multirex.results import Extras
from xaiserve.perturb.drive import run
from xaiserve.perturb.query import Scene
from xaiserve.perturb.rng import Keys
from xaiserve.storage.records import from_rows, to_table
from xaiserve.testing import contracts, toys

SIDE = 24
PIXELS = SIDE * SIDE
IMAGE = toys.toy_image(SIDE)
PATCH = (2, 7, 12, 17)
OPTIONS = MultiRexOptions(curves=True, insertion_step=50, robustness=20)


def random_map(seed=0):
    drawn = Keys.root(seed, "map").generator().random((SIDE, SIDE)) + 0.01
    return torch.from_numpy(drawn.astype(np.float32))


def quality(classifier, options=OPTIONS, seed=0):
    case = toys.toy_case(classifier, IMAGE)
    confidence = float(classifier.scores(IMAGE.unsqueeze(0))[0, toys.EVIDENCE])
    scene = Scene(IMAGE, torch.full_like(IMAGE, 0.25))
    return Quality(case, scene, confidence, ranking(random_map()), options, Keys.root(seed, "q"))


def patch_mask(patch):
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[patch[0] : patch[1], patch[2] : patch[3]] = True
    return mask


def test_curves_are_the_scores_of_prefixes_and_of_what_they_leave():
    classifier = toys.brightness_classifier(IMAGE, 0.4)
    measured = quality(classifier)
    before = classifier.rows
    curves = run(measured.curves(), classifier)
    assert classifier.rows - before == 2 * (PIXELS // 50)
    fill = torch.full_like(IMAGE, 0.25)
    for index, size in enumerate(range(50, PIXELS + 1, 50)):
        inside = measured.rank < size
        into = classifier.scores(torch.where(inside, IMAGE, fill).unsqueeze(0))[0, 1]
        out = classifier.scores(torch.where(inside, fill, IMAGE).unsqueeze(0))[0, 1]
        assert float(curves.insertion[index]) == pytest.approx(float(into), abs=1e-6)
        assert float(curves.deletion[index]) == pytest.approx(float(out), abs=1e-6)


def test_areas_are_simpsons_over_confidence_times_pixels():
    classifier = toys.brightness_classifier(IMAGE, 0.4)
    measured = quality(classifier)
    curves = run(measured.curves(), classifier)
    whole = measured.confidence * PIXELS
    for scores, auc, mean in (
        (curves.insertion, curves.insertion_auc, curves.insertion_mean),
        (curves.deletion, curves.deletion_auc, curves.deletion_mean),
    ):
        assert auc == pytest.approx(simpson(scores.double().numpy(), dx=50) / whole)
        assert mean == pytest.approx(float(scores.double().mean()))
    assert curves.insertion_mean > 0


def test_a_constant_curve_has_the_area_of_its_width():
    # 11 points of 50 pixels span 500 of 576 pixels.
    curves = run(quality(toys.constant_classifier(IMAGE)).curves(), toys.constant_classifier(IMAGE))
    assert curves.insertion_auc == pytest.approx(500 / 576)
    assert curves.insertion_mean == pytest.approx(toys.SEEN)


@pytest.mark.parametrize("step", [PIXELS, PIXELS // 2])
def test_one_or_two_points_have_an_area_too(step):
    classifier = toys.constant_classifier(IMAGE)
    curves = run(quality(classifier, replace(OPTIONS, insertion_step=step)).curves(), classifier)
    assert len(curves.insertion) == PIXELS // step
    assert curves.insertion_auc == pytest.approx((PIXELS - step) / PIXELS)


def test_the_concentration_of_a_uniform_map_is_none_at_all():
    assert concentration(torch.full((8, 8), 0.3)) == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_the_concentration_is_the_divergence_of_the_uniform_map_in_bits(seed):
    saliency = random_map(seed) ** 3 + 1e-3
    flat = saliency.double().numpy().ravel()
    expected = stats.entropy(np.ones_like(flat), flat, base=2)
    assert concentration(saliency) == pytest.approx(expected)


@pytest.mark.parametrize("least", [0.0, -0.1])
def test_a_map_without_responsibility_somewhere_has_no_finite_concentration(least):
    saliency = random_map()
    saliency[3, 3] = least
    assert concentration(saliency) is None


def test_a_set_that_holds_the_evidence_is_robust_and_another_is_not():
    classifier = toys.patch_classifier(IMAGE, PATCH)
    masks = [patch_mask(PATCH), patch_mask((15, 20, 3, 8)), patch_mask((0, 24, 0, 24))]
    before = classifier.rows
    found = run(quality(classifier).robustness(masks), classifier)
    assert found == (1.0, 0.0, 1.0)
    assert classifier.rows - before <= 3 * 20 + 1


def test_robustness_is_the_share_of_seeded_noise_pictures_between_the_extremes():
    seen = []

    def function(images):
        seen.append(images.clone())
        own = images.mean(dim=(1, 2, 3))
        return torch.stack([1 - own, own], dim=1)

    # A classifier whose inputs are not its images: mean 0.5, deviation 0.25.
    spec = toys.toy_spec(IMAGE, mean=0.5, std=0.25)
    classifier = toys.ToyClassifier("half", spec, function)
    mask = patch_mask(PATCH)
    measured = replace(quality(classifier), rank=ranking(random_map()))
    seen.clear()
    (share,) = run(measured.robustness([mask]), classifier)
    pictures = torch.cat(seen)[:20]
    assert share == pytest.approx(float((pictures.mean(dim=(1, 2, 3)) > 0.5).float().mean()))
    assert 0 < share < 1
    assert torch.allclose(pictures[:, :, mask], IMAGE[:, mask].expand(20, -1, -1), atol=1e-6)
    noise = pictures[:, :, ~mask]
    low, high = float(IMAGE.min()), float(IMAGE.max())
    assert float(noise.min()) == pytest.approx(low, abs=1e-3)
    assert float(noise.max()) == pytest.approx(high, abs=1e-3)
    assert float(noise.mean()) == pytest.approx((low + high) / 2, abs=0.01)
    assert len({hashlib.sha256(one.numpy().tobytes()).digest() for one in noise}) == 20


def test_robustness_depends_on_the_seed_and_not_on_the_batch_or_on_other_sets():
    classifier = toys.brightness_classifier(IMAGE, 0.5005)
    masks = [patch_mask(PATCH), patch_mask((0, 12, 0, 12)), patch_mask((10, 24, 0, 24))]
    together = run(quality(classifier).robustness(masks), classifier)
    assert run(quality(classifier).robustness(masks), classifier, max_rows=7) == together
    assert run(quality(classifier).robustness(masks[:1]), classifier) == together[:1]
    assert run(quality(classifier, seed=1).robustness(masks), classifier) != together


def test_nothing_is_measured_that_was_not_asked_for():
    classifier = toys.patch_classifier(IMAGE, PATCH)
    extras, options = Extras(), MultiRexOptions()
    before = classifier.rows
    plan = quality(classifier, options).run([patch_mask(PATCH)], extras, flat=False)
    run(plan, classifier)
    assert classifier.rows == before + 1  # the whole image, by the set-up
    assert (extras.curves, extras.robustness) == (None, ())


# -- the whole search ---------------------------------------------------------------------------


def explained(classifier, image=IMAGE, **options):
    case = toys.toy_case(classifier, image)
    small = {"iterations": 3, "chunk": 8, "spotlights": 2, "budget": 2}
    explainer = MultiRex(**small | {"pairs": False, "exclude": False} | options)
    return run(explainer.plan(case, Keys.root(0, case.image_id)), classifier)


def test_a_search_tells_what_was_asked_for_and_it_survives_a_record():
    found = explained(
        toys.any_classifier(IMAGE, [PATCH, (15, 20, 3, 8)]),
        contrastive=True,
        complete=True,
        curves=True,
        robustness=4,
        merge="multiplicative",
    )
    assert found.contrastive.found
    assert found.complete.found
    assert found.contrastive_union is not None
    assert len(found.curves.insertion) == PIXELS // 100
    assert all(one.robustness is not None for one in found.explanations)
    assert found.concentration_bits > 0
    (again,) = from_rows(MultiRexExplanation, to_table([found], MultiRexExplanation).to_pylist())
    contracts.same(found, again, contracts.equal_as_stored)


def test_a_search_tells_nothing_that_was_not_asked_for():
    found = explained(toys.patch_classifier(IMAGE, PATCH))
    told = (found.contrastive, found.complete, found.contrastive_union, found.curves)
    assert told == (None, None, None, None)
    assert all(one.robustness is None for one in found.explanations)


def test_a_flat_map_is_noted_where_spotlights_were_to_climb():
    # A picture that is never cut; spotlights find the patch nevertheless.
    classifier = toys.patch_classifier(IMAGE, PATCH)
    asked = {"objective": "mean", "curves": True, "contrastive": True}
    found = explained(classifier, **asked, min_box_area=577, spotlights=6, budget=30)
    assert found.flat_map
    assert found.explanations
    assert found.notes == ("the map is flat: spotlights looked anywhere, not by objective mean",)
    assert (found.curves, found.contrastive, found.concentration_bits) == (None, None, None)


def test_a_step_longer_than_the_image_is_refused_before_any_input():
    classifier = toys.patch_classifier(IMAGE, PATCH)
    with pytest.raises(InvalidInputError, match="insertion_step must be from 1 to 576"):
        explained(classifier, curves=True, insertion_step=577)
    assert classifier.rows == 0
