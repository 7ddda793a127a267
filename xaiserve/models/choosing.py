"""Which of the formats in a model's folder scores."""

import torch

from xaiserve.errors import InvalidInputError
from xaiserve.models.precision import Precision
from xaiserve.models.sources import Format, ModelFiles


def choose_format(
    found: ModelFiles,
    device: torch.device,
    wished: Format | None,
    precision: Precision = "fp32",
) -> Format:
    """Choose the format that scores.

    Raises
    ------
    InvalidInputError
        The wished format is not there, or nothing there can be loaded on that device, or in that
        precision.
    """
    kind = wished or found.named
    if kind is not None and kind not in found.weights:
        raise InvalidInputError(
            f"format must be one of {', '.join(found.weights)} for {found.folder}, got {kind!r}"
        )
    candidates = found.formats if kind is None else (kind,)
    if not candidates or (kind == "safetensors" and not found.names_architecture):
        raise _bare_state_dict(found)
    for candidate in candidates:
        if candidate != "onnx" or (device.type == "cpu" and precision == "fp32"):
            return candidate
    word, only, got = (
        ("precision", "fp32", precision) if device.type == "cpu" else ("device", "cpu", str(device))
    )
    raise InvalidInputError(
        f"{word} must be {only} for the ONNX file of {found.folder}, got {got!r}; "
        f"safetensors and .pt2 models run in other {word}s"
    )


def _bare_state_dict(found: ModelFiles) -> InvalidInputError:
    return InvalidInputError(
        f"{found.weights['safetensors'][0]} is a bare state dict, and no config.json beside it "
        "names its architecture: name the factory that builds the network in architecture.json "
        '({"factory": "package.module:name"}, with --trust-code), or export it to ONNX'
    )
