import pytest
import torch

from xaiserve.explainers.baselines.integrated_gradients import (
    PIECE_STEPS,
    IntegratedGradients,
    pieces,
)
from xaiserve.perturb.plan import Progress, Spent
from xaiserve.perturb.rng import Keys
from xaiserve.testing.contracts import ExplainerContract, exhaust, explain
from xaiserve.testing.toys import light_classifier, toy_case, toy_image, toy_spec

PATCH = (4, 12, 8, 16)
IMAGE = toy_image(24, light=PATCH)


class TestIntegratedGradients(ExplainerContract):
    explainer = IntegratedGradients(steps=25)
    max_inputs = 25
    patch = PATCH

    def image(self):
        return IMAGE

    def classifier(self, image):
        return light_classifier(image, spec=toy_spec(image, mean=0.4, std=0.2))


def integrated_by_hand(model, image, fill, steps):
    """Equation 3 with the midpoint of each step."""
    along = ((torch.arange(steps) + 0.5) / steps).view(-1, 1, 1, 1)
    points = (fill + along * (image - fill)).requires_grad_()
    (gradients,) = torch.autograd.grad(model.logits(points)[:, 1].sum(), points)
    return (image - fill) * gradients.mean(dim=0)


@pytest.mark.parametrize("fill", ["neutral", "grey"])
def test_equals_a_fine_riemann_sum(fill):
    model = light_classifier(IMAGE)
    case = toy_case(model, IMAGE)
    found = explain(IntegratedGradients(fill=fill, steps=100), case, model)
    start = torch.full_like(IMAGE, 0.0 if fill == "neutral" else 0.5)
    expected = integrated_by_hand(model, IMAGE, start, 400)
    torch.testing.assert_close(found.attributions, expected, atol=2e-4, rtol=0.02)


def test_attributions_sum_to_the_rise_of_the_logit():
    model = light_classifier(IMAGE)
    case = toy_case(model, IMAGE)
    found = explain(IntegratedGradients(steps=100), case, model)
    with torch.no_grad():
        ends = model.logits(torch.stack([IMAGE, torch.zeros_like(IMAGE)]))[:, 1]
    assert float(found.attributions.sum()) == pytest.approx(float(ends[0] - ends[1]), rel=0.02)


def test_the_sign_option_says_what_becomes_of_the_sum_over_channels():
    model = light_classifier(IMAGE)
    case = toy_case(model, IMAGE, target=0)
    maps = {
        sign: explain(IntegratedGradients(sign=sign, steps=10), case, model).saliency
        for sign in ("signed", "absolute", "positive")
    }
    assert maps["signed"].min() < 0
    torch.testing.assert_close(maps["absolute"], maps["signed"].abs())
    torch.testing.assert_close(maps["positive"], maps["signed"].clamp(min=0))


def test_pauses_between_pieces_of_the_path_and_counts_every_step():
    model = light_classifier(IMAGE)
    plan = IntegratedGradients(steps=25).attribute(model, toy_case(model, IMAGE), Keys.root(0, ""))
    events, _ = exhaust(plan)
    assert [event.rows for event in events if isinstance(event, Spent)] == [8, 8, 9]
    progress = [(event.done, event.total) for event in events if isinstance(event, Progress)]
    assert progress == [(8, 25), (16, 25), (25, 25)]


@pytest.mark.parametrize("steps", [1, 9, 10, 11, 50, 301])
def test_pieces_add_up_and_fit(steps):
    parts = pieces(steps)
    assert sum(parts) == steps
    assert max(parts) <= PIECE_STEPS
    assert max(parts) - min(parts) <= 1
