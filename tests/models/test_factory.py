import json
from pathlib import Path
from typing import cast

import pytest
import torch
from safetensors.torch import save_file

from xaiserve.errors import (
    ClassifierFaultError,
    InvalidInputError,
    ModelUnavailableError,
    UntrustedModelError,
)
from xaiserve.models.factory import factory_bytes
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.models.torch_classifier import Network, TorchGradients, TorchRunner
from xaiserve.testing.tiny_models import ChannelMeans, images, write_spec
from xaiserve.training.network import build

HOME = "xaiserve.testing.tiny_models"
EXPECTED = (10 * images(5).mean(dim=(2, 3))).softmax(dim=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Exports take a second each, so the tests of this file share them."""
    return tmp_path_factory.mktemp("cache")


def load(name: str, cache: Path) -> LoadedClassifier:
    return load_classifier(f"{HOME}:{name}", trust_code=True, batch_rows=2, cache_folder=cache)


@pytest.mark.parametrize("name", ["make", "make_callable"])
def test_a_factory_makes_a_classifier(name: str, cache: Path) -> None:
    classifier = load(name, cache)
    assert classifier.name == f"{HOME}:{name}"
    torch.testing.assert_close(classifier.scores(images(5)), EXPECTED)


def test_a_module_has_gradients(cache: Path) -> None:
    assert isinstance(load("make", cache).gradients(), TorchGradients)


def test_a_plain_callable_has_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"plain callable, which has no gradients"):
        load("make_callable", tmp_path).gradients()


def test_a_factory_is_not_imported_unless_it_is_trusted() -> None:
    with pytest.raises(UntrustedModelError, match=r"no\.such\.module:make is a factory"):
        load_classifier("no.such.module:make")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent", r"tiny_models:absent cannot be imported"),
        ("SIDE", r"tiny_models:SIDE must be callable, got 8"),
        ("make_nothing", r"must return an nn.Module .* and a ModelSpec, got NoneType"),
        ("make_module", r"must return an nn.Module .* and a ModelSpec, got ChannelMeans"),
    ],
)
def test_what_is_no_factory_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load(name, tmp_path)


def test_a_callable_that_returns_no_tensor_is_told_as_such() -> None:
    runner = TorchRunner(network=cast(Network, lambda _: None), device=torch.device("cpu"))
    with pytest.raises(ClassifierFaultError, match=r"must return a tensor \(n, k\), got NoneType"):
        runner.outputs(torch.zeros(1, 3, 4, 4))


def test_an_absent_module_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is its folder on the Python path"):
        load_classifier("no_such_package:make", trust_code=True, cache_folder=tmp_path)


def test_a_factory_that_raises_is_an_unavailable_model(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailableError, match="raised RuntimeError: no weights today"):
        load("make_trouble", tmp_path)


def test_overrides_complete_a_factorys_specification(tmp_path: Path) -> None:
    classifier = load_classifier(
        f"{HOME}:make_callable",
        trust_code=True,
        batch_rows=1,
        cache_folder=tmp_path,
        overrides={"labels": ["a", "b", "c"]},
    )
    assert classifier.spec.labels == ("a", "b", "c")


def test_the_digest_follows_the_weights() -> None:
    other = ChannelMeans()
    with torch.no_grad():
        other.convolution.weight.mul_(0.5)
    first = factory_bytes(f"{HOME}:make", ChannelMeans())
    assert factory_bytes(f"{HOME}:make", ChannelMeans()) == first
    assert factory_bytes(f"{HOME}:make", other) != first


class TestStateDict:
    """Safetensors whose folder names the factory of the network."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write_spec(tmp_path)
        save_file(ChannelMeans().state_dict(), tmp_path / "model.safetensors")
        self.name(tmp_path, f"{HOME}:make_module")
        return tmp_path

    @staticmethod
    def name(folder: Path, factory: object, options: object = None) -> None:
        told = {"factory": factory} if options is None else {"factory": factory, "options": options}
        (folder / "architecture.json").write_text(json.dumps(told))

    def test_it_fills_the_network_that_is_named_beside_it(self, folder: Path, cache: Path) -> None:
        classifier = load_classifier(folder, trust_code=True, batch_rows=2, cache_folder=cache)
        torch.testing.assert_close(classifier.scores(images(5)), EXPECTED)

    def test_the_factory_is_called_only_when_trusted(self, folder: Path) -> None:
        with pytest.raises(UntrustedModelError, match=r"names the factory .*make_module"):
            load_classifier(folder)

    @pytest.mark.parametrize(
        ("factory", "message"),
        [
            (None, "must be package.module:name, got None"),
            (f"{HOME}:make_nothing", "must return an nn.Module, got NoneType"),
        ],
    )
    def test_a_wrong_factory_is_refused(self, folder: Path, factory: object, message: str) -> None:
        self.name(folder, factory)
        with pytest.raises(InvalidInputError, match=message):
            load_classifier(folder, trust_code=True)

    def test_a_factory_of_ours_needs_no_trust(self, folder: Path, cache: Path) -> None:
        network = build(classes=3, channels=3)
        save_file(network.state_dict(), folder / "model.safetensors")
        self.name(folder, "xaiserve.training.network:build", {"classes": 3, "channels": 3})
        classifier = load_classifier(folder, batch_rows=2, cache_folder=cache)
        expected = network(classifier.spec.normalise(images(5))).softmax(dim=1)
        torch.testing.assert_close(classifier.scores(images(5)), expected.detach())

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ([2], r"must be whole numbers by name, got \[2\]"),
            ({"classes": "2", "channels": 3}, "must be whole numbers by name"),
            ({"classes": 2}, "takes no such options"),
            ({"classes": 10**9, "channels": 3}, "classes must be from 2 to 10000"),
        ],
    )
    def test_options_that_do_not_fit_a_factory_are_refused(
        self, folder: Path, options: object, message: str
    ) -> None:
        self.name(folder, "xaiserve.training.network:build", options)
        with pytest.raises(InvalidInputError, match=message):
            load_classifier(folder)

    def test_tensors_that_do_not_fit_are_refused(self, folder: Path) -> None:
        save_file({"other.weight": torch.zeros(1)}, folder / "model.safetensors")
        with pytest.raises(InvalidInputError, match="do not fill the network"):
            load_classifier(folder, trust_code=True)

    def test_a_damaged_file_is_refused(self, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"torn")
        with pytest.raises(InvalidInputError, match="do not fill the network"):
            load_classifier(folder, trust_code=True)

    def test_without_that_file_the_sentence_says_what_to_do(self, folder: Path) -> None:
        (folder / "architecture.json").unlink()
        with pytest.raises(InvalidInputError, match=r"bare state dict.*architecture.json.*ONNX"):
            load_classifier(folder)
