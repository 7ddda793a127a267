"""Each loss against a slow twin written from its formula, one picture at a time."""

import math

import pytest
import torch

from xaiserve.gan import losses

CLASSES = torch.tensor([0, 1, 1, 0, 1])


@pytest.fixture
def maps():
    """D_h and D_d of five pictures, on maps of 3 x 2 places."""
    draws = torch.Generator().manual_seed(3)
    return [torch.randn(5, 1, 3, 2, generator=draws) for _ in range(2)]


@pytest.fixture
def logits():
    draws = torch.Generator().manual_seed(4)
    return [torch.randn(5, 2, generator=draws) for _ in range(2)]


@pytest.fixture
def drawn():
    draws = torch.Generator().manual_seed(5)
    return [torch.rand(5, 1, 4, 4, generator=draws) for _ in range(2)]


def members(target):
    return [row for row, found in enumerate(CLASSES.tolist()) if found == target]


def mean(numbers):
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


def expected_over(maps, target, rows):
    """E[D_c] over some pictures, place by place."""
    return mean(value for row in rows for value in maps[target][row].flatten().tolist())


def cross_entropy(logits, target):
    top = [math.exp(value) for value in logits.tolist()]
    return -math.log(top[target] / sum(top))


def squared_error(one, other):
    return mean(((one - other) ** 2).flatten().tolist())


def test_the_real_loss_is_the_share_of_each_class_times_its_critics_mean(maps):
    slow = -sum(len(members(c)) / 5 * expected_over(maps, c, members(c)) for c in (0, 1))
    assert float(losses.real_loss(maps, CLASSES)) == pytest.approx(slow, abs=1e-6)


def test_the_fake_loss_is_the_share_of_each_class_times_the_mean_over_the_whole_batch(maps):
    slow = sum(len(members(c)) / 5 * expected_over(maps, c, range(5)) for c in (0, 1))
    assert float(losses.fake_loss(maps, CLASSES)) == pytest.approx(slow, abs=1e-6)


def test_the_adversarial_loss_is_the_negated_sum_of_both_means(maps):
    slow = -sum(expected_over(maps, c, range(5)) for c in (0, 1))
    assert float(losses.adversarial_loss(maps)) == pytest.approx(slow, abs=1e-6)


def test_the_class_loss_weighs_each_class_by_its_share(logits):
    slow = sum(
        len(members(c)) / 5 * mean(cross_entropy(logits[0][row], c) for row in members(c))
        for c in (0, 1)
    )
    assert float(losses.class_loss(logits[0], CLASSES)) == pytest.approx(slow, abs=1e-6)


def test_the_target_loss_adds_the_mean_of_both_translations(logits):
    slow = sum(mean(cross_entropy(logits[c][row], c) for row in range(5)) for c in (0, 1))
    assert float(losses.target_loss(logits)) == pytest.approx(slow, abs=1e-6)


def test_the_pixel_loss_adds_the_mean_squared_error_of_each_class(drawn):
    slow = sum(
        mean(squared_error(drawn[0][row], drawn[1][row]) for row in members(c)) for c in (0, 1)
    )
    found = losses.pixel_loss(drawn[0], drawn[1], CLASSES)
    assert float(found) == pytest.approx(slow, abs=1e-6)


def test_the_change_loss_adds_the_mean_absolute_change_of_both_translations(drawn):
    inputs = torch.zeros(5, 1, 4, 4)
    slow = sum(mean(abs(value) for value in each.flatten().tolist()) for each in drawn)
    assert float(losses.change_loss(inputs, drawn)) == pytest.approx(slow, abs=1e-6)


def test_a_class_that_the_batch_lacks_adds_nothing(maps, drawn):
    healthy = torch.zeros(5, dtype=torch.int64)
    assert float(losses.real_loss(maps, healthy)) == pytest.approx(-float(maps[0].mean()))
    found = losses.pixel_loss(drawn[0], drawn[1], healthy)
    assert float(found) == pytest.approx(squared_error(*drawn), abs=1e-6)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 3.0])
def test_the_penalty_of_a_linear_critic_is_its_slopes_distance_from_1(slope):
    direction = torch.full((1, 1, 4, 4), 0.25)  # of norm 1
    mixture = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    realness = (slope * direction * mixture).sum(dim=(1, 2, 3), keepdim=True)
    found = losses.gradient_penalty(realness, mixture)
    assert found.item() == pytest.approx((slope - 1) ** 2, abs=1e-6)


def test_the_penalty_of_a_quadratic_critic_averages_over_pictures():
    """D(x) = |x|^2 / 2 has the gradient x; the map of two equal places is summed."""
    norms = torch.tensor([0.5, 2.0, 1.5])
    mixture = (torch.full((3, 1, 2, 2), 0.5) * norms.view(-1, 1, 1, 1)).requires_grad_()
    half = mixture.square().sum(dim=(1, 2, 3)).view(3, 1, 1, 1) / 4
    found = losses.gradient_penalty(torch.cat([half, half], dim=3), mixture)
    assert found.item() == pytest.approx(mean((n - 1) ** 2 for n in norms.tolist()), abs=1e-6)


def test_the_penalty_carries_gradients_to_the_critics_weights():
    weight = torch.tensor(3.0, requires_grad=True)
    mixture = torch.full((1, 1, 1, 1), 0.5, requires_grad=True)
    losses.gradient_penalty(weight * mixture, mixture).backward()
    assert float(weight.grad) == pytest.approx(2 * (3 - 1))
