"""A classifier made by the user's own code: ``package.module:factory``."""

import hashlib
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch

from xaiserve.errors import InvalidInputError, ModelUnavailableError, UntrustedModelError
from xaiserve.models.spec import ModelSpec
from xaiserve.models.torch_classifier import Network


def call_factory(source: str, *, trust_code: bool) -> tuple[Network, ModelSpec]:
    """Import the factory and call it without argument.

    Returns
    -------
    tuple[Network, ModelSpec]
        An `nn.Module` or another callable, from normalised inputs (n, c, h, w) to raw outputs
        (n, k), and its specification.

    Raises
    ------
    UntrustedModelError
        Nobody said that the code may run.
    InvalidInputError
        It cannot be imported, or did not return such a pair.
    ModelUnavailableError
        It raised.
    """
    if not trust_code:
        raise UntrustedModelError(
            f"{source} is a factory, and calling it runs the code of its module: pass --trust-code "
            "(trust_code=True) if you trust it, or give ONNX or safetensors"
        )
    factory = import_factory(source)
    try:
        made = factory()
    except Exception as error:
        raise ModelUnavailableError(
            f"the factory {source} raised {type(error).__name__}: {error}"
        ) from error
    match made:
        case (network, ModelSpec() as spec) if callable(network):
            return _in_inference_state(network), spec
    raise InvalidInputError(
        f"the factory {source} must return an nn.Module (or a callable) and a ModelSpec, "
        f"got {type(made).__name__}"
    )


def import_factory(source: str) -> Callable[..., object]:
    """Import what ``package.module:name`` names.

    Raises
    ------
    InvalidInputError
        There is no such module or name, or it cannot be called.
    """
    module_name, _, attribute = source.partition(":")
    try:
        found = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InvalidInputError(
            f"the factory {source} cannot be imported: {error} (is its folder on the Python path?)"
        ) from error
    if not callable(found):
        raise InvalidInputError(f"the factory {source} must be callable, got {found!r}")
    return cast("Callable[..., object]", found)


def _in_inference_state(network: Network) -> Network:
    return network.eval() if isinstance(network, torch.nn.Module) else network


def factory_bytes(source: str, network: Network) -> bytes:
    """Digest what a factory's scores depend on, as far as it can be seen.

    The text of its module; and of an `nn.Module` the names, types, shapes and values of its state.
    """
    seen = hashlib.sha256(source.encode())
    module = importlib.import_module(source.partition(":")[0])
    if file := inspect.getsourcefile(module):
        seen.update(Path(file).read_bytes())
    if isinstance(network, torch.nn.Module):
        for name, value in sorted(network.state_dict().items()):
            seen.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            seen.update(flat.view(torch.uint8).numpy().tobytes())
    return seen.digest()
