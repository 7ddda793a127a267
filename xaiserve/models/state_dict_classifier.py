"""A bare state dict in safetensors, with the factory of its network named beside it.

``architecture.json`` holds ``{"factory": "package.module:name"}``; the factory is called with the
numbers under ``options``, if there are any, and returns an `nn.Module` that the tensors fill
exactly. Calling it runs code, so the caller must trust the folder, unless the factory is one of
this package's own.
"""

import re
from collections.abc import Callable, Sequence
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
OWN_FACTORIES: Final = frozenset({"xaiserve.data.network:build", "xaiserve.training.network:build"})
"""Factories that only build a network of this package, whoever names them."""

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
    stated = read_json(folder / ARCHITECTURE_FILE)
    source = stated.get("factory")
    if not isinstance(source, str) or not FACTORY_NAME.fullmatch(source):
        raise InvalidInputError(
            f"factory in {folder / ARCHITECTURE_FILE} must be package.module:name, got {source!r}"
        )
    if not trust_code and source not in OWN_FACTORIES:
        raise UntrustedModelError(
            f"{folder} names the factory {source}, and calling it runs code: pass --trust-code "
            "(trust_code=True) if you trust it, or give ONNX"
        )
    module = _call(import_factory(source), stated.get("options", {}), source)
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


def _call(factory: Callable[..., object], options: object, source: str) -> object:
    if not isinstance(options, dict) or not all(type(value) is int for value in options.values()):
        raise InvalidInputError(
            f"options of the factory {source} must be whole numbers by name, got {options!r}"
        )
    try:
        return factory(**options)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"the factory {source} takes no such options: {error}") from error
