import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from xaiserve.errors import InvalidInputError, ModelUnavailableError
from xaiserve.models.loading import load_classifier
from xaiserve.models.transformers_classifier import fetch_from_hub, load_transformers

transformers = pytest.importorskip("transformers")

CPU = torch.device("cpu")
PREPROCESSOR = {
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small residual network with random weights, as transformers saves it."""
    folder = tmp_path_factory.mktemp("resnet")
    config = transformers.ResNetConfig(
        embedding_size=4,
        hidden_sizes=[4, 8],
        depths=[1, 1],
        layer_type="basic",
        id2label={0: "cat", 1: "dog", 2: "eel"},
    )
    transformers.ResNetForImageClassification(config).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    for file in made.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_scores_like_transformers_itself(made: Path, tmp_path: Path) -> None:
    classifier = load_classifier(made, batch_rows=2, cache_folder=tmp_path)
    images = torch.linspace(0, 1, 5 * 3 * 32 * 32).view(5, 3, 32, 32)
    network = transformers.AutoModelForImageClassification.from_pretrained(made)
    with torch.no_grad():
        expected = network(pixel_values=(images - 0.5) / 0.5).logits.softmax(dim=1)
    assert classifier.spec.labels == ("cat", "dog", "eel")
    assert "runs in onnxruntime" in classifier.notes[-1]
    torch.testing.assert_close(classifier.scores(images), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        classifier.gradients().logits(images).softmax(dim=1), expected, atol=1e-5, rtol=0
    )


def test_weights_that_lack_a_parameter_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    removed = min(weights)
    save_file(
        {key: value for key, value in weights.items() if key != removed},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(InvalidInputError, match=f"lack 1 parameters .*{removed}"):
        load_transformers(folder, CPU)


def test_a_damaged_weights_file_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InvalidInputError, match="cannot be loaded by transformers"):
        load_transformers(folder, CPU)


def test_an_architecture_that_is_no_image_classifier_is_refused(folder: Path) -> None:
    change_config(folder, model_type="bert")
    with pytest.raises(InvalidInputError, match="cannot be loaded by transformers"):
        load_transformers(folder, CPU)


def test_code_that_comes_with_the_folder_is_not_run(folder: Path) -> None:
    change_config(
        folder,
        model_type="mine",
        auto_map={"AutoModelForImageClassification": "mine.Network", "AutoConfig": "mine.Config"},
    )
    (folder / "mine.py").write_text("raise SystemExit('ran')")
    with pytest.raises(InvalidInputError, match="cannot be loaded by transformers"):
        load_transformers(folder, CPU)


def test_a_hub_id_brings_data_only(tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(tmp_path)

    assert fetch_from_hub("owner/name@abc", download) == tmp_path
    assert asked == {
        "name": "owner/name",
        "revision": "abc",
        "allow_patterns": ("*.json", "*.safetensors"),
    }


def test_a_hub_that_does_not_answer_is_an_unavailable_model() -> None:
    def download(*_: object, **__: object) -> str:
        raise OSError("no route")

    with pytest.raises(ModelUnavailableError, match="'owner/name' is no file or folder here"):
        fetch_from_hub("owner/name", download)
