import math

import numpy as np
import pytest
import torch

from xaiserve.explainers.baselines._regression import ridge
from xaiserve.explainers.baselines.lime import Lime, proximity, random_subsets
from xaiserve.perturb.plan import Stop, step, stop
from xaiserve.perturb.rng import Keys
from xaiserve.testing.contracts import ExplainerContract, explain
from xaiserve.testing.toys import (
    ToyClassifier,
    brightness_classifier,
    constant_classifier,
    inside,
    toy_case,
    toy_image,
    toy_spec,
)

IMAGE = toy_image(24)
KEYS = Keys.root(0, "")
TILES = {"segmentation": "grid", "segments": 9, "fill": "neutral"}
CELLS = [(r, r + 8, c, c + 8) for r in (0, 8, 16) for c in (0, 8, 16)]


class TestLime(ExplainerContract):
    explainer = Lime(samples=200, segmentation="grid", segments=36)
    max_inputs = 200


class TestLimeOnSuperpixels(ExplainerContract):
    explainer = Lime(samples=200, segmentation="slic", segments=30, fill="grey")
    max_inputs = 200


def linear_classifier(effects, intercept):
    """Score the share of each ninth of the image that is shown, times its effect, summed."""

    def function(images):
        shares = [inside(images, c).sum((1, 2, 3)) / inside(IMAGE, c).sum() for c in CELLS]
        own = intercept + torch.stack(shares, dim=1) @ torch.tensor(effects)
        return torch.stack([1 - own, own], dim=1)

    return ToyClassifier("linear", toy_spec(IMAGE), function)


def test_recovers_a_linear_classifier_when_the_penalty_vanishes():
    effects = [0.1, -0.05, 0.0, 0.2, 0.03, -0.1, 0.15, 0.02, 0.08]
    classifier = linear_classifier(effects, 0.3)
    explainer = Lime(samples=200, penalty=1e-6, kernel_width=1.0, **TILES)
    found = explain(explainer, toy_case(classifier, IMAGE), classifier)
    torch.testing.assert_close(found.effects, torch.tensor(effects), atol=1e-5, rtol=0)
    assert found.intercept == pytest.approx(0.3, abs=1e-5)
    assert found.r_squared == pytest.approx(1, abs=1e-8)
    assert float(found.saliency[20, 2]) == pytest.approx(0.15, abs=1e-5)


def test_ridge_equals_least_squares_with_rows_added_for_the_penalty():
    generator = KEYS.generator()
    keep = torch.from_numpy(generator.random((40, 6)) < 0.5)
    scores = torch.from_numpy(generator.random(40).astype(np.float32))
    weights = torch.from_numpy(generator.random(40))
    line = ridge(keep, scores, weights, penalty=2.0)

    # Rows scaled by the root of their weight; the penalty is 6 rows that want each effect at 0.
    root = np.sqrt(weights.numpy())
    design = np.column_stack([keep.numpy() * root[:, None], root])
    penalty = np.column_stack([np.sqrt(2.0) * np.eye(6), np.zeros(6)])
    wanted = np.concatenate([scores.numpy() * root, np.zeros(6)])
    expected = np.linalg.lstsq(np.vstack([design, penalty]), wanted, rcond=None)[0]
    np.testing.assert_allclose(line.effects.numpy(), expected[:6], atol=1e-10)
    assert line.intercept == pytest.approx(expected[6], abs=1e-10)


def test_ridge_explains_all_where_there_is_nothing_to_explain():
    keep = random_subsets(20, 4, KEYS)
    line = ridge(keep, torch.full((20,), 0.5), torch.ones(20, dtype=torch.float64), penalty=1.0)
    assert line.r_squared == 1
    assert line.intercept == pytest.approx(0.5)
    assert float(line.effects.abs().max()) == pytest.approx(0, abs=1e-12)


def test_proximity_is_the_packages_kernel_on_the_cosine_distance():
    keep = torch.tensor([[True] * 4, [True, False, False, False], [False] * 4])
    found = proximity(keep, 0.25)
    # Cosine of a row with all ones: sqrt(kept / segments); taken as 0 for the empty row.
    expected = [math.sqrt(math.exp(-((1 - c) ** 2) / 0.25**2)) for c in (1, 0.5, 0)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_the_first_subset_is_the_whole_image_and_the_others_show_half():
    keep = random_subsets(2000, 10, KEYS)
    assert bool(keep[0].all())
    assert float(keep[1:].float().mean()) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("segmentation", ["quickshift", "slic", "felzenszwalb", "grid"])
def test_explains_on_every_segmentation(segmentation):
    image = toy_image(48, light=(8, 24, 8, 24), channels=1)
    classifier = brightness_classifier(image, 0.3)
    explainer = Lime(samples=64, segmentation=segmentation, segments=12, fill="mean")
    found = explain(explainer, toy_case(classifier, image), classifier)
    torch.testing.assert_close(found.saliency, found.effects[found.labels])


def test_a_stopped_run_fits_the_rows_that_were_scored():
    classifier = brightness_classifier(IMAGE, 0.3)
    case = toy_case(classifier, IMAGE)
    plan = Lime(samples=400, **TILES).plan(case, KEYS)
    query = step(plan)
    step(plan, torch.rand(len(query), 2, generator=torch.Generator().manual_seed(0)))
    assert bool(torch.isfinite(stop(plan, "inputs").value.saliency).all())


def test_a_run_stopped_before_its_first_answer_has_nothing():
    plan = Lime(**TILES).plan(toy_case(constant_classifier(IMAGE), IMAGE), KEYS)
    step(plan)
    with pytest.raises(Stop):
        stop(plan, "seconds")
