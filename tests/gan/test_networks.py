"""The published sizes, layer by layer, and what the reduced ones keep of them."""

import dataclasses

import pytest
import torch
from torch import nn

from xaiserve.errors import InvalidInputError
from xaiserve.gan.architecture import Architecture
from xaiserve.gan.networks import Critic, Generator, initialise
from xaiserve.gan.options import PRESETS, with_settings
from xaiserve.perturb.rng import Keys


def conv(inner, outer, kernel=3):
    return inner * outer * kernel**2 + outer


def block(inner, outer):
    """A convolution and BatchNorm's two numbers per channel."""
    return conv(inner, outer) + 2 * outer


def count(network):
    return sum(weights.numel() for weights in network.parameters())


def on_meta(kind, architecture):
    with torch.device("meta"):
        return kind(architecture)


def test_the_published_generator_has_the_weights_of_its_description():
    encoder = block(3, 64) + block(64, 64)
    for inner in (64, 128, 256):
        encoder += block(inner, 2 * inner) + block(2 * inner, 2 * inner)
    decoder = block(512, 256) + block(512, 256) + block(256, 256)
    decoder += block(256, 128) + block(256, 128) + block(128, 128) + block(128, 64)
    branch = block(64, 64) + conv(64, 1) + 2
    assert count(on_meta(Generator, Architecture())) == encoder + decoder + 2 * branch


def test_the_published_critic_has_the_weights_of_its_description():
    trunk = conv(1, 32) + conv(32, 64) + conv(64, 128) + conv(128, 128)
    trunk += conv(128, 256) + conv(256, 256) * 3 + conv(256, 512)
    heads = 2 * (2 * conv(512, 512) + conv(512, 1, kernel=1))
    classes = 2 * conv(512, 512) + (8192 * 64 + 64) + (64 * 2 + 2)
    assert count(on_meta(Critic, Architecture())) == trunk + heads + classes


def test_the_published_critic_ends_in_maps_of_8_and_10():
    critic = on_meta(Critic, Architecture())
    features = critic.features(torch.zeros(1, 1, 256, 256, device="meta"))
    assert features.shape == (1, 512, 8, 8)
    assert critic.realness(features, 1).shape == (1, 1, 10, 10)
    assert critic.classify(features).shape == (1, 2)


def test_the_published_generator_draws_what_it_is_shown_in_size():
    generator = on_meta(Generator, Architecture())
    assert generator(torch.zeros(2, 1, 256, 256, device="meta"), 0).shape == (2, 1, 256, 256)


@pytest.mark.parametrize("fold", [1, 2, 4])
def test_a_folded_network_has_the_same_maps(fold):
    sizes = Architecture(side=64, width=2, depth=2, critic_width=1, fold=fold, channels=3)
    inputs = torch.zeros(1, 3, 64, 64)
    assert Generator(sizes)(torch.rand_like(inputs), 1).shape == inputs.shape
    features = Critic(sizes).features(inputs)
    assert features.shape == (1, 16, 2, 2)


def test_a_residual_generator_begins_as_the_identity():
    sizes = Architecture(side=64, width=2, depth=1, critic_width=1, residual=True)
    generator, critic = Generator(sizes), Critic(sizes)
    initialise(generator, critic, Keys.root(0, "x"))
    inputs = torch.rand(2, 1, 64, 64)
    assert torch.equal(generator(inputs, 1), inputs)


def test_both_classes_share_all_but_their_branches():
    generator = Generator(Architecture(side=64, width=2, depth=1, critic_width=1))
    generator(torch.rand(2, 1, 64, 64), 1).sum().backward()
    untouched = {name for name, w in generator.named_parameters() if w.grad is None}
    assert untouched
    assert all(name.startswith("branches.0.") for name in untouched)


def test_initial_weights_follow_the_key_and_have_the_published_spread():
    sizes = Architecture(side=64, width=16, depth=1, critic_width=8)
    networks = [(Generator(sizes), Critic(sizes)) for _ in range(2)]
    for generator, critic in networks:
        initialise(generator, critic, Keys.root(7, "x"))
    for one, other in zip(*networks, strict=True):
        pairs = zip(one.parameters(), other.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    generator, critic = networks[0]
    layer = generator.encoder[1][0]
    assert layer.weight.std().item() == pytest.approx((2 / (16 * 9)) ** 0.5, rel=0.1)
    layer = next(m for m in critic.before if isinstance(m, nn.Conv2d))
    assert layer.weight.std().item() == pytest.approx((2 / (128 * 9 * 2)) ** 0.5, rel=0.05)
    assert layer.bias.abs().max().item() == 0


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"side": 100}, "side"),
        ({"side": 32, "depth": 1}, "side"),
        ({"channels": 2}, "channels"),
        ({"fold": 3}, "fold"),
    ],
)
def test_sizes_that_do_not_fit_are_named(wrong, named):
    with pytest.raises(ValueError, match=named):
        Architecture(**wrong)


def test_sizes_survive_their_json():
    sizes = Architecture(side=128, fold=2, norm="instance", residual=True)
    assert Architecture.from_json(sizes.to_json()) == sizes
    with pytest.raises(InvalidInputError, match="no architecture"):
        Architecture.from_json({"sides": 3})


def test_settings_go_to_the_part_that_has_them():
    found = with_settings(PRESETS["cpu"], {"side": "128", "epochs": "7", "norm": "batch"})
    assert (found.architecture.side, found.architecture.norm, found.options.epochs) == (
        128,
        "batch",
        7,
    )
    assert dataclasses.replace(found.options, epochs=20) == PRESETS["cpu"].options


@pytest.mark.parametrize("texts", [{"sides": "3"}, {"side": "100"}, {"epochs": "none"}])
def test_settings_that_do_not_fit_are_refused(texts):
    with pytest.raises(InvalidInputError):
        with_settings(PRESETS["cpu"], texts)
