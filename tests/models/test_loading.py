from pathlib import Path

import pytest
import torch
from PIL import Image

from xaiserve.errors import InvalidInputError, NotFoundError, UntrustedModelError
from xaiserve.models.choosing import choose_format
from xaiserve.models.inspecting import inspect_model
from xaiserve.models.loading import load_classifier
from xaiserve.models.preparing import prepare
from xaiserve.models.sources import find_model, is_factory, is_hub_id
from xaiserve.models.torch_classifier import TorchRunner
from xaiserve.storage.pictures import decode
from xaiserve.testing.tiny_models import onnx_model, write_folder, write_pt2

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PICKLED = ["model.pt", "model.pth", "pytorch_model.bin", "model.pkl", "last.ckpt"]


def test_nothing_at_the_path_is_not_found() -> None:
    with pytest.raises(
        NotFoundError, match=r"model .nowhere\.onnx' does not exist: .* or .embedded"
    ):
        load_classifier("nowhere.onnx")


@pytest.mark.parametrize("name", PICKLED)
@pytest.mark.parametrize("as_folder", [True, False])
def test_pickles_are_refused_with_the_safe_formats(
    tmp_path: Path, name: str, as_folder: bool
) -> None:
    (tmp_path / name).write_bytes(b"pickle")
    source = tmp_path if as_folder else tmp_path / name
    with pytest.raises(UntrustedModelError, match=r"never loaded: convert it to ONNX .* safetens"):
        load_classifier(source, trust_code=True)


def test_a_pickle_beside_a_safe_format_is_left_alone(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"pickle")
    assert load_classifier(tmp_path, batch_rows=1).notes == (
        "scores from model.onnx in onnxruntime",
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [("model.h5", "must be a file of type .onnx, .safetensors, .pt2, got '.h5'"), ("", "no model")],
)
def test_other_files_are_refused(tmp_path: Path, name: str, message: str) -> None:
    if name:
        (tmp_path / name).write_bytes(b"?")
    with pytest.raises(InvalidInputError, match=message):
        load_classifier(tmp_path / name)


def test_several_files_of_one_format_must_be_chosen_from(tmp_path: Path) -> None:
    (write_folder(tmp_path) / "model.onnx").rename(tmp_path / "a.onnx")
    (tmp_path / "b.onnx").write_bytes((tmp_path / "a.onnx").read_bytes())
    with pytest.raises(InvalidInputError, match=r"several \.onnx files; name one of a\.onnx, b\."):
        load_classifier(tmp_path)
    assert load_classifier(tmp_path / "b.onnx", batch_rows=1).name == "b"


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"batch_rows": 0}, "batch_rows must be at least 1, got 0"),
        ({"threads": 0}, "threads must be at least 1, got 0"),
        ({"device": "toaster"}, "device must be cpu or a device of this machine"),
        ({"file_format": "pt2"}, "format must be one of onnx for .*, got 'pt2'"),
    ],
)
def test_a_wrong_argument_is_named(
    tmp_path: Path, argument: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        load_classifier(write_folder(tmp_path), **argument)


def test_onnx_comes_first_on_the_cpu_and_not_at_all_elsewhere(tmp_path: Path) -> None:
    onnx_only = find_model(write_folder(tmp_path / "a"))
    both = find_model(write_pt2(write_folder(tmp_path / "b")))
    assert choose_format(both, CPU, None) == "onnx"
    assert choose_format(both, CPU, "pt2") == "pt2"
    assert choose_format(both, GPU, None) == "pt2"
    with pytest.raises(InvalidInputError, match="device must be cpu for the ONNX file"):
        choose_format(onnx_only, GPU, None)


def test_the_embedded_classifier_needs_no_trust_for_its_gradients() -> None:
    classifier = load_classifier("embedded", batch_rows=1)
    pixels = torch.full((1, 1, classifier.spec.height, classifier.spec.width), 0.5)
    logits = classifier.gradients().logits(pixels.requires_grad_())
    logits[0, 1].backward()
    assert pixels.grad is not None
    assert bool(pixels.grad.any())


def test_sources_are_told_apart_by_their_form(tmp_path: Path) -> None:
    assert is_factory("package.module:make")
    assert not is_factory("models/resnet")
    assert not is_factory("C:/models")
    assert is_hub_id("owner/name")
    assert is_hub_id("owner/name@main")
    assert not is_hub_id("models/name.onnx")
    assert not is_hub_id("./absent")
    assert not is_hub_id("../absent")
    assert not is_hub_id(str(tmp_path))


def test_a_classifier_is_named_by_its_folder_unless_told(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "lesions")
    assert load_classifier(folder, batch_rows=1).name == "lesions"
    assert load_classifier(folder, batch_rows=1, name="x").name == "x"


def test_inspection_says_what_is_there_and_what_would_be_used(tmp_path: Path) -> None:
    folder = write_pt2(write_folder(tmp_path / "tiny"))
    (folder / "old.pth").write_bytes(b"pickle")
    found = inspect_model(folder)
    assert found["name"] == "tiny"
    assert found["formats"]["onnx"] == {
        "files": {"model.onnx": (folder / "model.onnx").stat().st_size},
        "loadable": True,
    }
    assert (found["scores_from"], found["gradients_from"]) == ("onnx", "pt2")
    assert (found["spec_from"], found["labels"]) == ("xaiserve.json", 3)
    assert found["digest"] == load_classifier(folder, batch_rows=1).digest
    assert found["warnings"] == [
        "model.pt2 can run code when loaded and needs --trust-code",
        "old.pth is a pickled checkpoint and is never read",
    ]


def test_inspection_turns_what_is_wrong_into_warnings(tmp_path: Path) -> None:
    write_folder(tmp_path, onnx_model(channels=1))
    (wrong,) = inspect_model(tmp_path)["warnings"]
    assert "must take one input" in wrong
    (tmp_path / "xaiserve.json").unlink()
    found = inspect_model(tmp_path)
    assert (found["spec"], found["digest"], found["labels"]) == (None, None, 0)
    assert "states no specification" in found["warnings"][0]


def test_inspection_names_labels_that_classes_share(tmp_path: Path) -> None:
    found = inspect_model(write_folder(tmp_path), overrides={"labels": ["crane", "kite", "crane"]})
    assert found["warnings"] == ["several classes share a name: crane"]


def test_inspection_of_a_factory_needs_trust() -> None:
    source = "xaiserve.testing.tiny_models:make"
    with pytest.raises(UntrustedModelError, match="--trust-code"):
        inspect_model(source)
    found = inspect_model(source, trust_code=True)
    assert (found["scores_from"], found["gradients_from"], found["labels"]) == ("factory",) * 2 + (
        3,
    )


def real_images(data: Path, count: int = 4) -> list[Path]:
    return sorted((data / "imagenet_sample" / "images").iterdir())[:count]


@pytest.mark.parametrize("name", ["mobilenet_v2_imagenet1k", "squeezenet1_1_imagenet1k"])
def test_real_scores_do_not_depend_on_the_batch(data: Path, name: str) -> None:
    classifier = load_classifier(data / "classifiers" / name, batch_rows=7)
    images = torch.stack(
        [prepare(decode(f.read_bytes()), classifier.spec)[0] for f in real_images(data)]
    )
    inputs = classifier.spec.normalise(images)
    alone = torch.cat([classifier.score_inputs(row.unsqueeze(0)) for row in inputs])
    assert torch.equal(classifier.score_inputs(inputs), alone)


def test_preparing_equals_the_published_preprocessing(data: Path) -> None:
    transformers = pytest.importorskip("transformers")
    folder = data / "classifiers" / "mobilenet_v2_imagenet1k"
    spec = load_classifier(folder, batch_rows=1).spec
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    for file in real_images(data):
        image, _ = prepare(decode(file.read_bytes()), spec)
        ours = spec.normalise(image.unsqueeze(0))
        theirs = processor(Image.open(file).convert("RGB"), return_tensors="pt")["pixel_values"]
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_real_formats_of_one_network_agree(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = data / "classifiers" / "mobilenet_v2_imagenet1k"
    graph = load_classifier(folder, batch_rows=2, cache_folder=tmp_path)
    torch_way = load_classifier(
        folder, file_format="safetensors", batch_rows=2, cache_folder=tmp_path
    )
    images = torch.stack(
        [prepare(decode(f.read_bytes()), graph.spec)[0] for f in real_images(data)]
    )
    assert not isinstance(torch_way.runner, TorchRunner)
    torch.testing.assert_close(torch_way.scores(images), graph.scores(images), atol=1e-5, rtol=0)
    logits = graph.gradients().logits(images).detach()
    torch.testing.assert_close(logits.softmax(dim=1), graph.scores(images), atol=1e-5, rtol=0)
