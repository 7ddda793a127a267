import math

import pytest
import torch

from xaiserve.errors import InvalidInputError
from xaiserve.models.spec import ModelSpec, Rule

SPEC = ModelSpec(
    height=4,
    width=4,
    value_range=(0.0, 255.0),
    mean=(100.0, 110.0, 120.0),
    std=(50.0, 55.0, 60.0),
    labels=("crane", "kite", "crane"),
)


def test_normalising_follows_value_range_mean_and_std() -> None:
    images = torch.full((1, 3, 4, 4), 0.5)
    expected = torch.tensor([(127.5 - m) / s for m, s in zip(SPEC.mean, SPEC.std, strict=True)])
    torch.testing.assert_close(SPEC.normalise(images)[0, :, 0, 0], expected)


def test_the_neutral_colour_becomes_zero() -> None:
    images = SPEC.neutral.expand(3, 4, 4).unsqueeze(0)
    assert float(SPEC.normalise(images).abs().max()) < 1e-5


@pytest.mark.parametrize(
    ("activation", "expected"),
    [("softmax", [0.5, 0.5]), ("sigmoid", [0.5, 0.5]), ("none", [0.0, 0.0])],
)
def test_the_activation_makes_probabilities(activation: str, expected: list[float]) -> None:
    spec = ModelSpec(height=4, width=4, labels=("a", "b"), activation=activation)
    assert spec.probabilities(torch.zeros(1, 2))[0].tolist() == expected


def test_an_arg_max_margin_is_the_lead_over_the_best_other() -> None:
    scores = torch.tensor([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.5, 0.5, 0.0]])
    rule = Rule()
    assert rule.margins(scores, 0).tolist() == [0.25, -0.625, 0.0]
    assert rule.decides(scores, 0).tolist() == [True, False, True]
    assert rule.decides(scores, 1).tolist() == [False, True, False]


def test_a_threshold_margin_is_the_distance_to_the_threshold() -> None:
    scores = torch.tensor([[0.5, 0.25], [0.25, 0.75]])
    rule = Rule(thresholds=(0.5, 0.5))
    assert rule.margins(scores, 0).tolist() == [0.0, -0.25]
    assert rule.decides(scores, 0).tolist() == [True, False]


@pytest.mark.parametrize("target", [0, 1, 2])
def test_a_log_margin_is_the_lead_of_the_logit(target: int) -> None:
    logits = torch.tensor([[0.5, -2.0, 3.0], [9.0, 1.0, -4.0], [0.0, 0.0, 0.0]])
    others = [index for index in range(3) if index != target]
    expected = logits[:, target] - logits[:, others].amax(dim=1)
    found = Rule().log_margins(logits.softmax(dim=1), target)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_a_threshold_log_margin_is_the_distance_of_the_logits() -> None:
    logits = torch.tensor([[-3.0, 1.0], [2.0, 0.0]])
    rule = Rule(thresholds=(0.5, 0.75))
    found = rule.log_margins(logits.sigmoid(), 1)
    torch.testing.assert_close(found, logits[:, 1] - math.log(3), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rule", [Rule(), Rule(thresholds=(0.5, 0.5)), Rule(thresholds=(0.0, 1.0))])
def test_log_margins_are_finite_for_certain_scores(rule: Rule) -> None:
    scores = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert bool(torch.isfinite(rule.log_margins(scores, 1)).all())
    assert bool(rule.log_margins(scores, 1)[0] < 0)


@pytest.mark.parametrize("target", ["KITE", "1", 1])
def test_a_class_is_found_by_name_or_index(target: int | str) -> None:
    assert SPEC.class_index(target) == 1


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("crane", "names 2 classes, 0, 2; give the index"),
        ("heron", "is no label of this model; give one of its 3 labels or an index from 0 to 2"),
        ("9" * 5000, "is no label of this model"),
        (3, "must be a class index from 0 to 2, got 3"),
        (-1, "must be a class index from 0 to 2, got -1"),
    ],
)
def test_a_wrong_class_is_refused(target: int | str, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        SPEC.class_index(target)
