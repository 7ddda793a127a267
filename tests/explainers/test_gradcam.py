import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.baselines._captum import captum_attr
from xaiserve.explainers.baselines.gradcam import GradCam, choose_layer
from xaiserve.perturb.rng import Keys
from xaiserve.testing.contracts import ExplainerContract, exhaust, explain
from xaiserve.testing.toys import light_classifier, patch_classifier, toy_case, toy_image

PATCH = (4, 12, 8, 16)
IMAGE = toy_image(24, light=PATCH)


class TestGradCam(ExplainerContract):
    explainer = GradCam()
    max_inputs = 2
    patch = PATCH

    def image(self):
        return IMAGE

    def classifier(self, image):
        return light_classifier(image)


def grad_cam_by_hand(model, image, layer):
    """Equations 1 and 2, literally."""
    kept = {}
    part = model.module.get_submodule(layer)
    handle = part.register_forward_hook(lambda *run: kept.update(maps=run[2]))
    logit = model.logits(image[None])[0, 1]
    handle.remove()
    (gradient,) = torch.autograd.grad(logit, kept["maps"])
    total = torch.zeros(gradient.shape[2:])
    for index, weight in enumerate(gradient[0].mean(dim=(1, 2))):
        total += weight * kept["maps"][0, index].detach()
    return functional.interpolate(
        total.relu()[None, None], size=image.shape[1:], mode="bilinear", align_corners=False
    )[0, 0]


@pytest.mark.parametrize("layer", ["features", "maps"])
def test_equals_the_paper_s_equations(layer):
    model = light_classifier(IMAGE)
    found = explain(GradCam(layer=layer), toy_case(model, IMAGE), model).saliency
    torch.testing.assert_close(found, grad_cam_by_hand(model, IMAGE, layer))
    assert found.max() > 0


def test_takes_the_last_layer_with_maps():
    model = light_classifier(IMAGE)
    assert choose_layer(model.module, IMAGE[None], None) == "maps"


def test_skips_pooled_maps_and_layers_that_run_twice():
    relu = nn.ReLU()
    empty = nn.Conv2d(3, 4, 3, device="meta").to_empty(device="cpu")
    network = nn.Sequential(empty, relu, relu, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert choose_layer(network, IMAGE[None], None) == "0"


def test_refuses_a_layer_without_maps_naming_some_that_have():
    model = light_classifier(IMAGE)
    with pytest.raises(InvalidInputError, match="features, maps; got 'head'"):
        explain(GradCam(layer="head"), toy_case(model, IMAGE), model)


def test_refuses_a_network_that_shows_no_maps():
    with pytest.raises(InvalidInputError, match="shows none"):
        choose_layer(nn.Sequential(nn.Flatten()), IMAGE[None], None)


def test_leaves_the_network_without_hooks_and_gradients():
    model = light_classifier(IMAGE)
    explain(GradCam(), toy_case(model, IMAGE), model)
    for part in model.module.modules():
        assert not part._forward_hooks
        assert not part._backward_hooks
    assert all(weight.grad is None for weight in model.module.parameters())


def test_works_where_gradients_are_switched_off():
    model = light_classifier(IMAGE)
    case = toy_case(model, IMAGE)
    with torch.no_grad():
        found = explain(GradCam(), case, model)
    torch.testing.assert_close(found.saliency, explain(GradCam(), case, model).saliency)
    assert not found.saliency.requires_grad


def test_a_model_without_gradients_says_so():
    model = patch_classifier(IMAGE, PATCH)
    with pytest.raises(InvalidInputError, match="no gradients"):
        explain(GradCam(), toy_case(model, IMAGE), model)


def test_says_how_to_install_captum_when_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(InvalidInputError, match=r"grad-cam needs captum.*pip install"):
        captum_attr("grad-cam")


def test_pauses_after_each_pass():
    model = light_classifier(IMAGE)
    case = toy_case(model, IMAGE)
    events, _ = exhaust(GradCam().attribute(model, case, Keys.root(0, "")))
    assert [event.rows for event in events] == [1, 1]


def test_the_signed_map_keeps_what_speaks_against_the_target():
    model = light_classifier(IMAGE)
    case = toy_case(model, IMAGE, target=0)
    signed = explain(GradCam(layer="features", sign="signed"), case, model).saliency
    assert signed.min() < 0
    own = explain(GradCam(layer="features"), toy_case(model, IMAGE, target=1), model).saliency
    signed_own = explain(
        GradCam(layer="features", sign="signed"), toy_case(model, IMAGE, target=1), model
    ).saliency
    assert signed_own.max() > 0
    assert own.min() >= 0
