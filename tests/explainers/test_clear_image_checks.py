from dataclasses import replace

import pytest
import torch

from xaiserve.errors import ClassifierFaultError, InvalidInputError, NoExplanationError
from xaiserve.explainers.clear_image import ClearImage
from xaiserve.explainers.clear_image.checks import check_budget
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.models.spec import Rule
from xaiserve.perturb.case import Contrast
from xaiserve.testing.contracts import explain
from xaiserve.testing.toys import ToyClassifier, patch_classifier, toy_case, toy_image, toy_spec

IMAGE = 0.4 * toy_image(40)
PATCH = (4, 16, 4, 16)
QUICK = ClearImage(segmenter="gan_diff", samples=50)


def contrast_of(image):
    changed = image.clone()
    changed[:, 4:16, 4:16] += 0.5
    return changed


def explained(image=IMAGE, contrast=None, classifier=None, target=1, **case):
    model = classifier or patch_classifier(image, PATCH)
    picture = contrast_of(image) if contrast is None else contrast
    made = replace(
        toy_case(model, IMAGE, target=target),
        image=image,
        neutral=torch.zeros(len(image), 1, 1),
        unit=torch.ones(len(image), 1, 1),
        contrast=Contrast(image=picture, provider="file"),
        **case,
    )
    return explain(QUICK, made, model)


def broken(value):
    image = IMAGE.clone()
    image[0, 5, 5] = value
    return image


@pytest.mark.parametrize(
    ("image", "contrast", "message"),
    [
        (broken(float("nan")), None, "NaN"),
        (IMAGE, broken(float("inf")), r"contrast picture \(file\) holds NaN or infinite"),
        (broken(1.01), None, r"\[0, 1\]"),
        (IMAGE, broken(-0.01), r"\[0, 1\]"),
        (IMAGE, torch.zeros(3, 40, 41), "40x41 with 3 channels and the image 40x40"),
        (IMAGE, torch.zeros(1, 40, 40), "40x40 with 1 channel and"),
        (torch.rand(2, 40, 40), None, "1 or 3 channels, has 2"),
        (0.4 * toy_image(24), None, "at least 32 pixels, is 24x24"),
        (torch.full((3, 40, 40), 0.25), None, "one even colour"),
    ],
)
def test_a_picture_that_is_none_is_refused_before_any_question(image, contrast, message):
    classifier = patch_classifier(IMAGE, PATCH)
    with pytest.raises(InvalidInputError, match=message):
        explained(image, contrast, classifier)
    assert classifier.rows == 0


def test_a_contrast_equal_to_the_image_is_blank():
    with pytest.raises(NoExplanationError, match="blank_contrast"):
        explained(contrast=IMAGE + 0.003)


def answering(function, classes=2):
    labels = [f"class {number}" for number in range(classes)]
    return ToyClassifier("odd", toy_spec(IMAGE, labels=labels), function)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.tensor([0.5, 1.5]), "must be probabilities, go from 0.5 to 1.5"),
        (torch.tensor([-3.0, 4.0]), "must be probabilities"),
        (torch.tensor([0.5, 0.4]), "must sum to 1, sum to 0.9"),
    ],
)
def test_scores_that_are_no_probabilities_are_refused(scores, message):
    classifier = answering(lambda images: scores.expand(len(images), 2))
    with pytest.raises(ClassifierFaultError, match=message):
        explained(classifier=classifier)


def test_scores_of_a_multi_label_model_need_not_sum_to_one():
    classifier = answering(lambda images: torch.tensor([0.9, 0.8]).expand(len(images), 2))
    found = explained(classifier=classifier, rule=Rule(thresholds=(0.5, 0.5)))
    assert found.decision == "threshold"


def test_the_sum_that_is_told_is_the_worst():
    def only_dark_pictures_sum_to_one(images):
        own = torch.where(images.mean(dim=(1, 2, 3)) > IMAGE.mean() + 1e-4, 0.7, 0.5)
        return torch.stack([own, torch.full_like(own, 0.5)], dim=1)

    with pytest.raises(ClassifierFaultError, match=r"must sum to 1, sum to 1\.2000"):
        explained(classifier=answering(only_dark_pictures_sum_to_one))


def test_a_target_that_the_model_does_not_have_is_refused():
    with pytest.raises(InvalidInputError, match="from 0 to 1, got 2"):
        explained(target=2)


class Forgetful:
    """Answers as a network with dropout, or with batch statistics, left on."""

    def __init__(self, by_batch):
        self.by_batch, self.calls = by_batch, 0

    def __call__(self, images):
        self.calls += 1
        shift = 0.1 * len(images) if self.by_batch else 0.001 * self.calls
        own = torch.full((len(images),), 0.5 + shift)
        return torch.stack([1 - own, own], dim=1)


@pytest.mark.parametrize("by_batch", [True, False])
def test_a_classifier_that_changes_its_mind_is_refused(by_batch):
    with pytest.raises(ClassifierFaultError, match="evaluation mode"):
        explained(classifier=answering(Forgetful(by_batch)))


def test_a_search_over_its_limit_is_refused_with_its_masks_by_depth():
    options = ClearOptions(max_queries=2000)
    with pytest.raises(InvalidInputError, match="14 of 1, 91 of 2, 364 of 3, 1001 of 4"):
        check_budget(15, options)
    check_budget(15, replace(options, max_queries=2470))
    check_budget(15, replace(options, depth=3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tau": 0.5}, "tau must be above 0.5"),
        ({"tau": 1.0}, "tau must be above 0.5 and below 1"),
        ({"boundary": 0.0}, "boundary"),
        ({"samples": 49}, "samples"),
        ({"max_predictors": 1}, "max_predictors"),
        ({"depth": 5}, "depth"),
        ({"tau": float("nan")}, "tau must be a number from 0.5 to 1, got nan"),
        ({"high_threshold": 1.0}, "high_threshold must be above 0 and below 1, got 1"),
        ({"diff_threshold": 0.0}, "diff_threshold must be above 0"),
        ({"penalty": float("inf")}, "penalty must be a number from 0"),
        ({"include": (1.5,)}, "include must hold whole numbers, got 1.5"),
        ({"include": (-1.0,)}, "include must be numbers separated by commas from 0 to 255"),
        ({"low_threshold": 0.4}, "low_threshold must be below high_threshold"),
        ({"informative_low": 0.99}, "informative_low must be below"),
        ({"score": "adjusted-r2"}, "score must be aic or pseudo-r2 when regression is logistic"),
        ({"regression": "multiple", "score": "pseudo-r2"}, "adjusted-r2 when regression is mult"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ClearImage(**options)


def test_a_segment_to_include_must_exist():
    model = patch_classifier(IMAGE, PATCH)
    case = replace(
        toy_case(model, IMAGE), contrast=Contrast(image=contrast_of(IMAGE), provider="file")
    )
    with pytest.raises(InvalidInputError, match="include names segment 7"):
        explain(replace(QUICK, include=(7.0,)), case, model)
