"""A bare state dict in safetensors, with the factory of its network named beside it.

``architecture.json`` holds ``{"factory": "package.module:name"}``; the factory is called with no
argument and returns an `nn.Module` that the tensors fill exactly. Calling it runs code, so the
caller must trust the folder; the one that this package ships is trusted.
"""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from xaiserve.errors import InvalidInputError, UntrustedModelError
from xaiserve.models.factory import import_factory
from xaiserve.models.spec_files import read_json

ARCHITECTURE_FILE: Final = "architecture.json"
FACTORY_NAME: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def embedded_folder() -> Path:
    """Return the folder of the classifier that this package ships."""
    return Path(str(files("xaiserve").joinpath("data", "embedded")))


def load_state_dict(
    weights: Sequence[Path], device: torch.device, *, trust_code: bool
) -> torch.nn.Module:
    """Build the network that ``architecture.json`` names and fill it.

    Parameters
    ----------
    weights
        The safetensors files, all in one folder.
    device
        Where the network goes.
    trust_code
        Whether the factory may be called.

    Raises
    ------
    UntrustedModelError
        Nobody said that the factory may be called.
    InvalidInputError
        The file names no factory of a module, or the tensors do not fill it.
    """
    folder = weights[0].parent
    source = read_json(folder / ARCHITECTURE_FILE).get("factory")
    if not isinstance(source, str) or not FACTORY_NAME.fullmatch(source):
        raise InvalidInputError(
            f"factory in {folder / ARCHITECTURE_FILE} must be package.module:name, got {source!r}"
        )
    if not trust_code and folder.resolve() != embedded_folder().resolve():
        raise UntrustedModelError(
            f"{folder} names the factory {source}, and calling it runs code: pass --trust-code "
            "(trust_code=True) if you trust it, or give ONNX"
        )
    module = import_factory(source)()
    if not isinstance(module, torch.nn.Module):
        raise InvalidInputError(
            f"the factory {source} must return an nn.Module, got {type(module).__name__}"
        )
    try:
        module.load_state_dict({key: t for path in weights for key, t in load_file(path).items()})
    except (RuntimeError, SafetensorError) as error:
        raise InvalidInputError(
            f"the tensors in {folder} do not fill the network of {source}: {error}"
        ) from error
    return module.eval().to(device)
