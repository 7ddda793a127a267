"""A classifier as guide: its classes by name, at its own size, with gradients to the pictures."""

import pytest
import torch
from torch import nn

from xaiserve.errors import InvalidInputError
from xaiserve.gan.guide import guide_of
from xaiserve.models.spec import ModelSpec
from xaiserve.models.torch_classifier import TorchGradients


class Levels(nn.Module):
    """Three logits: a weight times the mean of the picture, 0, and its negative."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(4.0))

    def forward(self, inputs):
        level = self.weight * inputs.mean(dim=(1, 2, 3))
        return torch.stack([level, 0 * level, -level], dim=1)


def classifier(channels=1):
    spec = ModelSpec(
        height=32,
        width=32,
        channels=channels,
        mean=(0.5,) * channels,
        std=(1.0,) * channels,
        labels=("Lit", "other", "dark"),
    )
    return TorchGradients(spec=spec, device=torch.device("cpu"), module=Levels())


def test_a_guide_answers_in_the_order_of_the_training_at_its_own_size():
    images = torch.cat([torch.full((1, 1, 64, 64), level) for level in (0.25, 1.0)])
    found = guide_of(classifier(), ("dark", "lit"), channels=1)(images)
    assert torch.allclose(found, torch.tensor([[1.0, -1.0], [-2.0, 2.0]]), atol=1e-5)


def test_grey_pictures_are_repeated_for_a_classifier_of_colours():
    images = torch.full((1, 1, 64, 64), 1.0)
    found = guide_of(classifier(channels=3), ("dark", "lit"), channels=1)(images)
    assert torch.allclose(found, torch.tensor([[-2.0, 2.0]]), atol=1e-5)


def test_gradients_reach_the_pictures_and_not_the_weights():
    asked = classifier()
    images = torch.full((1, 1, 64, 64), 0.6, requires_grad=True)
    guide_of(asked, ("dark", "lit"), channels=1)(images)[0, 1].backward()
    assert images.grad.sum().item() == pytest.approx(4.0, rel=1e-4)
    assert asked.module.weight.grad is None


def test_a_class_that_the_classifier_lacks_is_named():
    with pytest.raises(InvalidInputError, match="must have one class 'ill'"):
        guide_of(classifier(), ("dark", "ill"), channels=1)


def test_a_grey_classifier_guides_no_training_in_colour():
    with pytest.raises(InvalidInputError, match="in colour"):
        guide_of(classifier(), ("dark", "lit"), channels=3)
