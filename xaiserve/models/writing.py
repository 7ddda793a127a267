"""A network as a model folder: weights, their ONNX twin, the specification and the factory."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import onnx
import torch
from safetensors.torch import save_file
from torch import nn

from xaiserve.models.fast_path import quiet_exporter
from xaiserve.models.spec import ModelSpec
from xaiserve.models.spec_files import XAISERVE_FILE
from xaiserve.models.spec_json import spec_to_json
from xaiserve.models.state_dict_classifier import ARCHITECTURE_FILE

SAFETENSORS: Final = "model.safetensors"
ONNX: Final = "model.onnx"


def write_model_folder(
    network: nn.Module,
    spec: ModelSpec,
    folder: Path,
    factory: str,
    options: Mapping[str, int] | None = None,
) -> None:
    """Write what `load_classifier` reads; the ONNX graph takes any number of rows.

    Parameters
    ----------
    network
        From normalised inputs (n, c, h, w) to raw outputs (n, k); comes back in evaluation mode.
    spec
        Its specification.
    folder
        Made if absent; files of the same names are replaced.
    factory, options
        ``package.module:name`` and the arguments with which it builds a network that the weights
        fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.contiguous() for key, value in network.state_dict().items()}
    save_file(state, folder / SAFETENSORS)
    with quiet_exporter():
        torch.onnx.export(
            network.eval(),
            (torch.zeros(2, spec.channels, spec.height, spec.width),),
            folder / ONNX,
            input_names=["inputs"],
            output_names=["logits"],
            dynamic_shapes={"inputs": {0: torch.export.Dim("n", min=1)}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    _strip(folder / ONNX)
    _write_json(folder / XAISERVE_FILE, spec_to_json(spec))
    arguments = {"options": dict(options)} if options else {}
    _write_json(folder / ARCHITECTURE_FILE, {"factory": factory, **arguments})


def _strip(path: Path) -> None:
    """Remove the exporter's notes, which name files of the machine that it ran on."""
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]
    onnx.save(model, path)


def _write_json(path: Path, found: object) -> None:
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
