"""The folder of the embedded classifier: writing it, and reading its network back."""

from pathlib import Path

from safetensors.torch import load_file

from xaiserve.data.network import LesionNetwork, build
from xaiserve.data.training import EMBEDDED_SPEC
from xaiserve.models.state_dict_classifier import embedded_folder
from xaiserve.models.writing import SAFETENSORS, write_model_folder


def load_embedded(folder: Path | None = None) -> LesionNetwork:
    """Load the network from its safetensors file, in evaluation mode, on the CPU."""
    network = build()
    network.load_state_dict(load_file((folder or embedded_folder()) / SAFETENSORS))
    return network


def write_embedded(network: LesionNetwork, folder: Path) -> None:
    """Write weights, their ONNX twin, the specification and the factory that fits the weights."""
    write_model_folder(network, EMBEDDED_SPEC, folder, "xaiserve.data.network:build")
