"""The folder of the embedded classifier: writing it, and reading its network back."""

import json
from pathlib import Path
from typing import Final

import onnx
import torch
from safetensors.torch import load_file, save_file

from xaiserve.data.network import LesionNetwork, build
from xaiserve.data.training import EMBEDDED_SPEC
from xaiserve.models.spec_files import XAISERVE_FILE
from xaiserve.models.spec_json import spec_to_json
from xaiserve.models.state_dict_classifier import ARCHITECTURE_FILE, embedded_folder

SAFETENSORS: Final = "model.safetensors"
ONNX: Final = "model.onnx"


def load_embedded(folder: Path | None = None) -> LesionNetwork:
    """Load the network from its safetensors file, in evaluation mode, on the CPU."""
    network = build()
    network.load_state_dict(load_file((folder or embedded_folder()) / SAFETENSORS))
    return network


def write_embedded(network: LesionNetwork, folder: Path) -> None:
    """Write weights, their ONNX twin, the specification and the factory that fits the weights.

    The ONNX graph takes any number of rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / SAFETENSORS)
    torch.onnx.export(
        network.eval(),
        (torch.zeros(2, EMBEDDED_SPEC.channels, EMBEDDED_SPEC.height, EMBEDDED_SPEC.width),),
        folder / ONNX,
        input_names=["inputs"],
        output_names=["logits"],
        dynamic_shapes={"inputs": {0: torch.export.Dim("n", min=1)}},
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    _strip(folder / ONNX)
    _write_json(folder / XAISERVE_FILE, spec_to_json(EMBEDDED_SPEC))
    _write_json(folder / ARCHITECTURE_FILE, {"factory": "xaiserve.data.network:build"})


def _strip(path: Path) -> None:
    """Remove the exporter's notes, which name files of the machine that it ran on."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]
    onnx.save(model, path)


def _write_json(path: Path, found: object) -> None:
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
