"""Model files small enough to make in a test: ten times a channel's mean is its class's output."""

import json
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor
from typing_extensions import override

from xaiserve.models.spec import ModelSpec
from xaiserve.models.spec_json import spec_to_json
from xaiserve.models.torch_classifier import Network
from xaiserve.types import Images

SIDE = 8
SPEC = ModelSpec(height=SIDE, width=SIDE, labels=("red", "green", "blue"))


class ChannelMeans(torch.nn.Module):
    """The network of every file here, with weights as a module has them."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 3, 1, bias=False)
        with torch.no_grad():
            self.convolution.weight.copy_(10 * torch.eye(3).view(3, 3, 1, 1))

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        means: Tensor = self.convolution(inputs).mean(dim=(2, 3))
        return means


def make() -> tuple[torch.nn.Module, ModelSpec]:
    return ChannelMeans(), SPEC


def make_module() -> torch.nn.Module:
    return ChannelMeans()


def make_callable() -> tuple[Network, ModelSpec]:
    return lambda inputs: 10 * inputs.mean(dim=(2, 3)), SPEC


def make_nothing() -> None:
    pass


def make_trouble() -> None:
    raise RuntimeError("no weights today")


def images(rows: int) -> Images:
    """Rows whose class is known: row i is bright in channel i modulo 3."""
    found = torch.full((rows, 3, SIDE, SIDE), 0.25)
    for row in range(rows):
        found[row, row % 3] = 0.75
    return found


def onnx_model(
    *,
    rows: int | str = "n",
    channels: int = 3,
    outputs: int = 3,
    scale: float = 10.0,
    shape: bool = True,
    probabilities: bool = False,
) -> onnx.ModelProto:
    """The network of `ChannelMeans` as an ONNX graph.

    Parameters
    ----------
    rows
        A name for a free batch size, a number for a fixed one.
    channels, outputs
        Sizes of the input and the output.
    scale
        Another number than 10 makes another network.
    shape
        Whether the graph declares its output's shape.
    probabilities
        Whether softmax is part of the graph.
    """
    weight = np.eye(channels, outputs, dtype=np.float32) * scale
    nodes = [
        helper.make_node("ReduceMean", ["picture", "axes"], ["means"], keepdims=0),
        helper.make_node("MatMul", ["means", "weight"], ["raw"]),
        helper.make_node("Softmax" if probabilities else "Identity", ["raw"], ["answer"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [rows, channels, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(
                "answer", TensorProto.FLOAT, [rows, outputs] if shape else None
            )
        ],
        [
            numpy_helper.from_array(np.array([2, 3]), "axes"),
            numpy_helper.from_array(weight, "weight"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def write_folder(
    folder: Path, model: onnx.ModelProto | None = None, spec: ModelSpec = SPEC
) -> Path:
    """Write an ONNX file with its ``xaiserve.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model or onnx_model(), folder / "model.onnx")
    write_spec(folder, spec)
    return folder


def write_spec(folder: Path, spec: ModelSpec = SPEC) -> None:
    (folder / "xaiserve.json").write_text(json.dumps(spec_to_json(spec)))


def write_pt2(folder: Path, module: torch.nn.Module | None = None) -> Path:
    """Write a torch.export archive with a free batch size."""
    program = torch.export.export(
        module or ChannelMeans(), (images(2),), dynamic_shapes=({0: torch.export.Dim("n")},)
    )
    torch.export.save(program, folder / "model.pt2")
    return folder
