"""Insertion and deletion: closed forms of a linear model, and a slow twin of the authors' loop."""

import numpy as np
import pytest
import torch
from scipy.ndimage import convolve, gaussian_filter

from xaiserve.errors import InvalidInputError
from xaiserve.metrics.deletion import InsertionDeletion, area
from xaiserve.metrics.scored import Scored
from xaiserve.perturb.drive import run
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.fills import blurred
from xaiserve.perturb.plan import Done, step
from xaiserve.perturb.rng import Keys
from xaiserve.testing.toys import (
    EVIDENCE,
    ToyClassifier,
    graded_patch_classifier,
    toy_case,
    toy_image,
    toy_spec,
)

KEYS = Keys.root(0, "an image")


def linear_classifier(image):
    """Score the mean of all values."""

    def function(images):
        own = images.flatten(1).double().mean(dim=1).float()
        return torch.stack([1 - own, own], dim=1)

    return ToyClassifier("mean", toy_spec(image), function)


def linear_curves(*, sign=1.0, steps=96):
    image = toy_image(channels=1)
    classifier = linear_classifier(image)
    case = toy_case(classifier, image)
    metric = InsertionDeletion(steps=steps)
    return image, run(metric.plan(case, sign * image[0], KEYS), classifier)


def test_deletion_of_a_linear_model_is_the_sum_of_what_remains():
    image, curves = linear_curves()
    values = np.sort(image.double().numpy().ravel())
    remaining = np.array([values[: 576 - 6 * i].sum() / 576 for i in range(97)])
    assert curves.deletion.numpy() == pytest.approx(remaining, abs=1e-6)
    trapezoids = (remaining[1:] + remaining[:-1]).sum() / 2 / 96
    assert curves.deletion_auc.value == pytest.approx(trapezoids, abs=1e-6)


def test_the_ends_are_the_image_and_the_fill_exactly():
    image = toy_image()
    classifier = linear_classifier(image)
    case = toy_case(classifier, image)
    curves = run(InsertionDeletion().plan(case, image[0], KEYS), classifier)
    pictures = torch.stack([image, blurred(image, around=case.neutral), torch.zeros_like(image)])
    whole, blurry, gone = classifier.scores(pictures)[:, EVIDENCE]
    assert (curves.deletion[0], curves.deletion[-1]) == (whole, gone)
    assert (curves.insertion[0], curves.insertion[-1]) == (blurry, whole)


def test_the_reversed_order_gives_the_complementary_curve():
    _, curves = linear_curves()
    _, reverse = linear_curves(sign=-1.0)
    complement = curves.deletion[0] - curves.deletion.flip(0)
    assert reverse.deletion.numpy() == pytest.approx(complement.numpy(), abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 10, 97])
def test_the_area_of_a_constant_curve_is_the_constant(steps):
    assert area(torch.full((steps + 1,), 0.3)) == pytest.approx(0.3)


def slow_curves(case, classifier, saliency, steps):
    """Change the model's input step by step, as the authors' loop does."""
    spec = classifier.spec
    whole = spec.normalise(case.image[None])[0].double().numpy()
    kernel = np.zeros((11, 11))
    kernel[5, 5] = 1.0
    kernel = gaussian_filter(kernel, 5)
    blurred = np.stack([convolve(channel, kernel, mode="constant") for channel in whole])
    order = np.argsort(-saliency.numpy().ravel())
    step_px = -(-order.size // steps)
    curves = []
    for start, finish in ((blurred, whole), (whole, np.zeros_like(whole))):
        now = start.copy()
        scores = []
        for at in range(0, order.size + step_px, step_px):
            inputs = torch.from_numpy(now).float()[None]
            scores.append(float(classifier.score_inputs(inputs)[0, case.target]))
            moved = order[at : at + step_px]
            now.reshape(3, -1)[:, moved] = finish.reshape(3, -1)[:, moved]
        curves.append(scores)
    return curves


def graded_case():
    image = toy_image(17, 23)
    spec = toy_spec(image, mean=0.4, std=0.2)
    classifier = graded_patch_classifier(image, (2, 9, 3, 14), spec=spec)
    return toy_case(classifier, image), classifier


def test_equals_the_slow_twin():
    case, classifier = graded_case()
    saliency = toy_image(17, 23, channels=1, seed=1)[0]
    # 391 pixels in steps of 14: the last step is smaller.
    curves = run(InsertionDeletion(steps=30).plan(case, saliency, KEYS), classifier)
    insertion, deletion = slow_curves(case, classifier, saliency, 30)
    assert curves.step_px == 14
    assert curves.insertion.tolist() == pytest.approx(insertion, abs=1e-5)
    assert curves.deletion.tolist() == pytest.approx(deletion, abs=1e-5)


def test_a_map_of_the_evidence_beats_its_negative():
    case, classifier = graded_case()
    saliency = torch.zeros(17, 23)
    saliency[2:9, 3:14] = 1.0
    good, bad = (
        run(InsertionDeletion().plan(case, sign * saliency, KEYS), classifier) for sign in (1, -1)
    )
    assert good.insertion_auc.value > bad.insertion_auc.value
    assert good.deletion_auc.value < bad.deletion_auc.value
    assert good.insertion_minus_deletion == Scored(
        good.insertion_auc.value - good.deletion_auc.value
    )


def test_asks_both_curves_at_once_and_nothing_twice():
    case, _ = graded_case()
    plan = InsertionDeletion(steps=30).plan(case, torch.ones(17, 23), KEYS)
    query = step(plan)
    assert len(query) == 2 * (28 + 1)
    done = step(plan, torch.full((len(query), 2), 0.5))
    assert isinstance(done, Done)
    assert done.value.model_inputs == len(query)
    assert (done.value.image_id, done.value.target) == (case.image_id, EVIDENCE)


def test_results_depend_on_the_keys_and_not_on_batches():
    case, classifier = graded_case()
    flat = torch.ones(17, 23)

    def curves(keys, max_rows=64):
        return run(InsertionDeletion().plan(case, flat, keys), classifier, max_rows=max_rows)

    first = curves(KEYS)
    for max_rows in (1, 7, 64):
        again = curves(KEYS, max_rows)
        assert torch.equal(again.insertion, first.insertion)
        assert torch.equal(again.deletion, first.deletion)
    assert not torch.equal(curves(KEYS.child("other")).insertion, first.insertion)


def test_the_engine_answers_it_like_a_single_driver():
    case, classifier = graded_case()
    alone = run(InsertionDeletion().plan(case, case.image[0], KEYS), classifier)
    with Engine(classifier) as engine:
        plans = [InsertionDeletion().plan(case, case.image[0], KEYS) for _ in range(3)]
        for ticket in [engine.submit(plan) for plan in plans]:
            assert torch.equal(ticket.result().deletion, alone.deletion)


def test_a_coarser_map_is_scaled_to_the_image():
    image = toy_image()
    classifier = linear_classifier(image)
    plan = InsertionDeletion().plan(toy_case(classifier, image), torch.eye(6), KEYS)
    assert run(plan, classifier).reason == ""


@pytest.mark.parametrize(
    ("saliency", "reason"),
    [(torch.ones(24, 23), "size_mismatch"), (torch.full((24, 24), torch.nan), "nonfinite_map")],
)
def test_a_map_that_cannot_be_scored_costs_nothing(saliency, reason):
    image = toy_image()
    classifier = linear_classifier(image)
    curves = run(InsertionDeletion().plan(toy_case(classifier, image), saliency, KEYS), classifier)
    assert classifier.rows == curves.model_inputs == 0
    assert curves.insertion_auc == Scored(None, reason)
    assert curves.deletion_auc == Scored(None, reason)
    assert curves.insertion_minus_deletion == Scored(None, reason)


def test_too_few_steps_are_refused():
    with pytest.raises(ValueError, match="steps must be an integer of at least 10, got 9"):
        InsertionDeletion(steps=9)


def test_more_steps_than_pixels_are_refused():
    image = toy_image(4)
    case = toy_case(linear_classifier(image), image)
    with pytest.raises(InvalidInputError, match=r"steps must be from 10 to 16, .* got 100"):
        step(InsertionDeletion().plan(case, image[0], KEYS))


def test_scores_that_are_no_probabilities_are_refused():
    case, _ = graded_case()
    plan = InsertionDeletion().plan(case, torch.ones(17, 23), KEYS)
    logits = torch.full((len(step(plan)), 2), 3.0)
    with pytest.raises(InvalidInputError, match="probabilities from 0 to 1, got scores from 3"):
        step(plan, logits)
