"""A data set with a known answer: pictures with one bright patch, and a model that looks for it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE = 32
PATCH_PX = 8


def write_model(folder: Path) -> Path:
    """Write an ONNX model whose class 1 is the brightness of the brightest 8 x 8 cell."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("GlobalMaxPool", ["cells"], ["top"]),
        helper.make_node("Flatten", ["top"], ["one"]),
        helper.make_node("Mul", ["one", "scale"], ["lit"]),
        helper.make_node("Sub", ["four", "lit"], ["dark"]),
        helper.make_node("Concat", ["dark", "lit"], ["y"], axis=1),
    ]
    numbers = {"scale": 8.0, "four": 4.0}
    graph = helper.make_graph(
        nodes,
        "brightest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(np.array([[value]], np.float32), name)
            for name, value in numbers.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    spec = {
        "height": SIDE,
        "width": SIDE,
        "channels": 1,
        "value_range": [0, 1],
        "mean": [0],
        "std": [1],
        "resize": {"mode": "exact", "resample": "bilinear"},
        "labels": ["dark", "light"],
        "activation": "softmax",
    }
    (folder / "xaiserve.json").write_text(json.dumps(spec))
    return folder


def write_images(folder: Path, count: int) -> Path:
    """Write pictures with a bright cell, its mask for each, and the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(count):
        row, column = (8 * cell for cell in divmod(index % 16, 4))
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[row : row + PATCH_PX, column : column + PATCH_PX] = 255
        # The lowest bits tell the pictures apart.
        picture = np.where(mask > 0, 230, 20).astype(np.uint8) + np.uint8(index // 16)
        Image.fromarray(picture).save(folder / f"{index:03d}.png")
        Image.fromarray(mask).save(folder / f"{index:03d}-mask.gif")
        names = {"uri": f"{index:03d}.png", "mask": f"{index:03d}-mask.gif"}
        lines.append(json.dumps({"id": f"image-{index}", "label": "light"} | names))
    (folder / "manifest.jsonl").write_text("\n".join(lines))
    return folder / "manifest.jsonl"


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    return write_images(tmp_path / "images", 6)
