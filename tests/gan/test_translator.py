"""A translator folder: written, loaded, damaged; and what it draws."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from xaiserve.errors import ClassifierFaultError, InvalidInputError, NotFoundError
from xaiserve.gan.architecture import Architecture
from xaiserve.gan.networks import Critic, Generator, initialise
from xaiserve.gan.ranges import Span, resized
from xaiserve.gan.translator import load_translator, write_translator
from xaiserve.models.translator import Translator
from xaiserve.perturb.rng import Keys
from xaiserve.storage.opening import open_store


def generator_with(**sizes):
    """Make a generator whose statistics are not those that it starts with."""
    architecture = Architecture(
        **({"side": 64, "width": 4, "depth": 2, "critic_width": 1, "fold": 2} | sizes)
    )
    generator = Generator(architecture)
    initialise(generator, Critic(architecture), Keys.root(1, "weights"))
    with torch.no_grad():
        if architecture.residual:  # which begins as the identity
            for branch in generator.branches:
                branch[-1].weight.normal_(std=0.1, generator=seeded(9))
        for row in range(3):
            inputs = torch.rand(4, architecture.channels, 64, 64, generator=seeded(row)) * 2 - 1
            generator(inputs, row % 2)
    return generator


def seeded(number):
    return torch.Generator().manual_seed(number)


def images_of(count, channels=1, side=72):
    """Draw pictures whose ranges differ."""
    images = torch.rand(count, channels, side, side, generator=seeded(count))
    return images * torch.linspace(0.4, 0.9, count).view(-1, 1, 1, 1) + 0.05


@pytest.fixture
def folder(tmp_path):
    write_translator(
        open_store(tmp_path), generator_with(), ("healthy", "diseased"), "card", training={"e": 1}
    )
    return tmp_path


def test_a_loaded_folder_says_what_it_is(folder):
    translator = load_translator(folder)
    assert isinstance(translator, Translator)
    assert (translator.side, translator.channels) == (64, 1)
    assert translator.labels == ("healthy", "diseased")
    assert translator.target("diseased") == 1
    assert len(translator.digest) == 64
    assert load_translator(str(folder)).digest == translator.digest


@pytest.mark.parametrize("norm", ["batch", "instance"])
@pytest.mark.parametrize("rows", [1, 4])
def test_a_picture_is_drawn_alike_bit_for_bit_alone_and_in_a_batch(tmp_path, norm, rows):
    generator = generator_with(norm=norm, residual=norm == "instance")
    write_translator(open_store(tmp_path), generator, ("a", "b"), "", training={})
    translator, images = load_translator(tmp_path, rows=rows), images_of(6)
    together = translator.translate(images, 0)
    mixed = translator.translate(images, [0, 1, 0, 1, 1, 0])
    for row in range(6):
        assert torch.equal(together[row], translator.translate(images[row : row + 1], 0)[0])
        assert torch.equal(mixed[row], together[row]) == (row in {0, 2, 5})


def test_pictures_are_scaled_by_their_own_range_resized_and_brought_back(folder):
    translator, images = load_translator(folder), images_of(3)
    low, high = images.amin((1, 2, 3)), images.amax((1, 2, 3))
    for row in range(3):
        shown = (images[row] - low[row]) / (high[row] - low[row]) * 2 - 1
        with torch.inference_mode():
            drawn = translator.generator(resized(shown[None], 64, 64), 1)
        back = (resized(drawn, 72, 72)[0] + 1) / 2 * (high[row] - low[row]) + low[row]
        found = translator.translate(images[row : row + 1], 1)[0]
        assert torch.allclose(found, back.clamp(0, 1), atol=1e-6)


def test_results_stay_in_the_range_of_a_picture(folder):
    found = load_translator(folder).translate(images_of(4), 1)
    assert found.dtype == torch.float32
    assert 0 <= float(found.min()) <= float(found.max()) <= 1


def test_parity_uses_the_statistics_of_the_picture_and_keeps_none(folder):
    frozen, parity = load_translator(folder), load_translator(folder, parity=True, rows=4)
    images = images_of(2)
    training = Generator(frozen.generator.architecture)
    training.load_state_dict(frozen.generator.state_dict())
    with torch.inference_mode():
        span = Span.of(images[:1])
        drawn = training.train()(resized(span.to_inputs(images[:1]), 64, 64), 0)
    expected = span.to_images(resized(drawn, 72, 72))
    first = parity.translate(images, 0)
    assert torch.allclose(first[:1], expected, atol=1e-6)
    assert torch.equal(parity.translate(images, 0), first)
    assert not torch.allclose(frozen.translate(images, 0), first, atol=1e-3)
    assert parity.digest != frozen.digest


def test_a_grey_translator_takes_three_equal_channels_and_no_colours(folder):
    translator, grey = load_translator(folder), images_of(2)
    found = translator.translate(grey.expand(-1, 3, -1, -1), 0)
    assert torch.equal(found, translator.translate(grey, 0).expand(-1, 3, -1, -1))
    with pytest.raises(InvalidInputError, match="grey images"):
        translator.translate(images_of(2, channels=3), 0)


def test_a_colour_translator_takes_no_grey(tmp_path):
    write_translator(open_store(tmp_path), generator_with(channels=3), ("a", "b"), "", training={})
    translator = load_translator(tmp_path)
    assert translator.translate(images_of(1, channels=3), 1).shape == (1, 3, 72, 72)
    with pytest.raises(InvalidInputError, match="takes 3 channels, got 1"):
        translator.translate(images_of(1), 1)


@pytest.mark.parametrize(
    ("images", "target", "message"),
    [
        (torch.rand(1, 1, 20, 40), 0, "at least 32 pixels, got 40x20"),
        (torch.rand(1, 2, 64, 64), 0, "takes 1 channels, got 2"),
        (torch.full((1, 1, 64, 64), 0.5), 0, "constant"),
        (torch.full((1, 1, 64, 64), float("nan")), 0, "finite"),
        (torch.rand(1, 1, 64, 64), 2, "target must be 0 or 1, got 2"),
        (torch.rand(2, 1, 64, 64), [0], "one for each of 2 images, got 1"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(folder, images, target, message):
    with pytest.raises(InvalidInputError, match=message):
        load_translator(folder).translate(images, target)


def test_an_unknown_class_lists_the_known_ones(folder):
    with pytest.raises(InvalidInputError, match="healthy and diseased, got 'ill'"):
        load_translator(folder).target("ill")


def test_nan_from_the_network_is_its_fault_not_the_callers(folder):
    weights = load_file(folder / "model.safetensors")
    weights["branches.0.1.weight"][:] = float("nan")
    save_file(weights, folder / "model.safetensors")
    translator = load_translator(folder)
    with pytest.raises(ClassifierFaultError, match="answered with NaN"):
        translator.translate(images_of(1), 0)
    assert torch.isfinite(translator.translate(images_of(1), 1)).all()


def test_an_empty_folder_holds_no_translator(tmp_path):
    with pytest.raises(NotFoundError, match="holds no translator"):
        load_translator(tmp_path)


def test_a_folder_without_weights_says_so(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(NotFoundError, match="holds no model"):
        load_translator(folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ("{", "damaged"),
        (json.dumps({"kind": "contrast-gan"}), "damaged"),
        (json.dumps({"kind": "x", "labels": ["a", "b"], "architecture": {}}), "must be contrast"),
        (
            json.dumps({"kind": "contrast-gan", "labels": ["a", "b"], "architecture": {"no": 1}}),
            "config.json is damaged: this is no architecture",
        ),
        (
            json.dumps(
                {"kind": "contrast-gan", "labels": ["a", "b"], "architecture": {"width": 4}}
            ),
            "config.json: Missing key",
        ),
    ],
)
def test_a_damaged_configuration_is_named(folder, changed, message):
    (folder / "config.json").write_text(changed)
    with pytest.raises(InvalidInputError, match=message):
        load_translator(folder)


def test_cut_weights_are_named(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidInputError, match="does not fit"):
        load_translator(folder)
