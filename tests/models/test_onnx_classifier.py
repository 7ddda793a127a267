from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from xaiserve.errors import InvalidInputError
from xaiserve.models.classifier import Classifier
from xaiserve.models.loading import load_classifier
from xaiserve.models.spec import ModelSpec
from xaiserve.models.spec_json import spec_to_json
from xaiserve.testing.tiny_models import SIDE, images, onnx_model, write_folder, write_pt2


def test_scores_are_the_softmax_of_the_graphs_output(tmp_path: Path) -> None:
    classifier = load_classifier(write_folder(tmp_path), batch_rows=4)
    expected = (10 * images(6).mean(dim=(2, 3))).softmax(dim=1)
    assert isinstance(classifier, Classifier)
    torch.testing.assert_close(classifier.scores(images(6)), expected)
    assert classifier.batch_rows == 4


def test_the_scores_belong_to_the_caller(tmp_path: Path) -> None:
    classifier = load_classifier(write_folder(tmp_path), batch_rows=4)
    buffer = images(2)
    scores = classifier.score_inputs(buffer)
    kept = scores.clone()
    buffer.zero_()
    classifier.score_inputs(buffer)
    assert torch.equal(scores, kept)
    scores.zero_()  # no inference tensor: a caller may write to it


def test_a_graph_of_fixed_batch_size_scores_any_number_of_rows(tmp_path: Path) -> None:
    free = load_classifier(write_folder(tmp_path / "free"), batch_rows=1)
    fixed = load_classifier(write_folder(tmp_path / "fixed", onnx_model(rows=4)), batch_rows=1)
    assert fixed.batch_rows == 4
    for rows in (1, 4, 7):
        torch.testing.assert_close(fixed.score_inputs(images(rows)), free.scores(images(rows)))


def test_no_rows_give_no_scores(tmp_path: Path) -> None:
    classifier = load_classifier(write_folder(tmp_path), batch_rows=1)
    assert classifier.score_inputs(images(0)).shape == (0, 3)


def test_external_data_beside_the_file_is_read_and_is_part_of_the_digest(tmp_path: Path) -> None:
    write_folder(tmp_path)
    model = onnx_model()
    onnx.save(
        model,
        tmp_path / "model.onnx",
        save_as_external_data=True,
        location="model.data",
        size_threshold=60,
    )
    first = load_classifier(tmp_path, batch_rows=1)
    torch.testing.assert_close(
        first.scores(images(3)), (10 * images(3).mean(dim=(2, 3))).softmax(dim=1)
    )
    data = bytearray((tmp_path / "model.data").read_bytes())
    data[-1] ^= 1
    (tmp_path / "model.data").write_bytes(bytes(data))
    assert load_classifier(tmp_path, batch_rows=1).digest != first.digest


@pytest.mark.parametrize("location", ["../secret.data", "/etc/passwd", "absent.data"])
def test_external_data_outside_the_folder_is_refused(tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.data").write_bytes(b"\0" * 36)
    model = onnx_model()
    weight = model.graph.initializer[1]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    with pytest.raises(InvalidInputError, match="must be a file in the model's own folder"):
        load_classifier(write_folder(tmp_path / "model", model))


def test_external_data_in_an_attribute_is_found_too(tmp_path: Path) -> None:
    model = onnx_model()
    hidden = helper.make_tensor("hidden", TensorProto.FLOAT, [1], [0.0])
    hidden.ClearField("float_data")
    hidden.data_location = TensorProto.EXTERNAL
    hidden.external_data.add(key="location", value="../../elsewhere")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=hidden))
    with pytest.raises(InvalidInputError, match=r"keeps tensors in '../../elsewhere'"):
        load_classifier(write_folder(tmp_path, model))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    write_folder(tmp_path)
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"model\.onnx is no ONNX file"):
        load_classifier(tmp_path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    path = tmp_path / "model.onnx"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InvalidInputError, match=r"model\.onnx"):
        load_classifier(tmp_path)


def test_an_unknown_operator_is_refused(tmp_path: Path) -> None:
    model = onnx_model()
    model.graph.node[0].op_type = "Teleport"
    with pytest.raises(InvalidInputError, match=r"cannot be loaded by onnxruntime.*Teleport"):
        load_classifier(write_folder(tmp_path, model))


def test_an_input_of_another_shape_is_refused(tmp_path: Path) -> None:
    message = r"must take one input tensor\(float\) \(n, 3, 8, 8\).*got picture .* \['n', 1, 8, 8\]"
    with pytest.raises(InvalidInputError, match=message):
        load_classifier(write_folder(tmp_path, onnx_model(channels=1)))


def test_a_grey_model_takes_one_channel(tmp_path: Path) -> None:
    spec = ModelSpec(
        height=SIDE, width=SIDE, channels=1, mean=(0.0,), std=(1.0,), labels=("dark", "bright")
    )
    model = onnx_model(channels=1, outputs=2)
    classifier = load_classifier(write_folder(tmp_path, model, spec), batch_rows=1)
    assert classifier.scores(images(2)[:, :1]).shape == (2, 2)


@pytest.mark.parametrize("shape", [True, False])
def test_a_wrong_number_of_labels_is_refused(tmp_path: Path, shape: bool) -> None:
    folder = write_folder(tmp_path, onnx_model(outputs=2, shape=shape))
    with pytest.raises(InvalidInputError, match=r"answers \(3, 2\) .* names 3 labels"):
        load_classifier(folder)


def test_outputs_that_are_no_probabilities_are_refused_as_such(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    with pytest.raises(InvalidInputError, match=r"activation of .* must be softmax or sigmoid"):
        load_classifier(folder, overrides={"activation": "none"})


def test_outputs_that_are_probabilities_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, onnx_model(probabilities=True))
    classifier = load_classifier(folder, overrides={"activation": "none"}, batch_rows=1)
    expected = (10 * images(3).mean(dim=(2, 3))).softmax(dim=1)
    torch.testing.assert_close(classifier.scores(images(3)), expected)


def test_of_several_outputs_the_one_with_a_column_per_label_is_taken(tmp_path: Path) -> None:
    model = onnx_model()
    model.graph.node.append(helper.make_node("Shape", ["raw"], ["size"]))
    model.graph.output.append(helper.make_tensor_value_info("size", TensorProto.INT64, [2]))
    classifier = load_classifier(write_folder(tmp_path, model), batch_rows=1)
    assert classifier.scores(images(3)).argmax(dim=1).tolist() == [0, 1, 2]


def test_two_outputs_that_both_fit_are_refused_unless_one_is_named_logits(tmp_path: Path) -> None:
    model = onnx_model()
    model.graph.output.append(helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["n", 3]))
    with pytest.raises(InvalidInputError, match=r"one named logits, got answer .* raw "):
        load_classifier(write_folder(tmp_path, model))


def test_onnx_alone_has_no_gradients(tmp_path: Path) -> None:
    classifier = load_classifier(write_folder(tmp_path), batch_rows=1)
    with pytest.raises(InvalidInputError, match=r"ONNX, which has no gradients.*safetensors"):
        classifier.gradients()


def test_a_trusted_pt2_beside_it_gives_the_gradients(tmp_path: Path) -> None:
    folder = write_pt2(write_folder(tmp_path))
    model = load_classifier(folder / "model.onnx", trust_code=True, batch_rows=1).gradients()
    pixels = images(1).requires_grad_()
    model.logits(pixels)[0, 0].backward()
    assert pixels.grad is not None
    torch.testing.assert_close(pixels.grad[0, 0], torch.full((SIDE, SIDE), 10 / SIDE**2))


def test_a_twin_that_is_another_network_is_refused(tmp_path: Path) -> None:
    folder = write_pt2(write_folder(tmp_path, onnx_model(scale=11.0)))
    classifier = load_classifier(folder, trust_code=True, batch_rows=1)
    with pytest.raises(InvalidInputError, match="ONNX file and the pt2 are different networks"):
        classifier.gradients()


def test_the_digest_follows_weights_and_specification(tmp_path: Path) -> None:
    first = load_classifier(write_folder(tmp_path / "a"), batch_rows=1).digest
    assert load_classifier(write_folder(tmp_path / "b"), batch_rows=8).digest == first
    other = write_folder(tmp_path / "c", onnx_model(scale=9.0))
    assert load_classifier(other, batch_rows=1).digest != first
    renamed = spec_to_json(load_classifier(other, batch_rows=1).spec) | {"labels": ["x", "y", "z"]}
    assert load_classifier(tmp_path / "a", overrides=renamed, batch_rows=1).digest != first
