"""A ``transformers`` image classifier: a folder of safetensors and config, or a hub id."""

import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from typing_extensions import override

from xaiserve.errors import InvalidInputError, ModelUnavailableError

_HUB_FILES: Final = ("*.json", "*.safetensors")
"""What is fetched from a hub: data only, no pickles and no Python."""


class LogitsOnly(torch.nn.Module):
    """A transformers classifier as a module from normalised inputs to logits."""

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.network = network

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(pixel_values=inputs).logits
        return logits


def load_transformers(folder: Path, device: torch.device) -> torch.nn.Module:
    """Load a transformers folder: safetensors only, no code of the model's own, no network.

    Raises
    ------
    InvalidInputError
        The extra is not installed, the architecture is none that transformers classifies images
        with, or the weights do not fill it.
    """
    transformers = _transformers()
    try:
        with _quiet(transformers):
            network, report = transformers.AutoModelForImageClassification.from_pretrained(
                str(folder),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
    except Exception as error:  # OSError, ValueError, KeyError, safetensors' own, ...
        raise InvalidInputError(
            f"{folder} cannot be loaded by transformers: {_first_line(error)}"
        ) from error
    # transformers fills such parameters with random numbers and goes on.
    if lacking := sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]])):
        raise InvalidInputError(
            f"the weights in {folder} lack {len(lacking)} parameters of the architecture that "
            f"config.json names, or have another shape: {', '.join(lacking[:3])}"
        )
    return LogitsOnly(network).eval().to(device)


def fetch_from_hub(hub_id: str, download: Callable[..., str] | None = None) -> Path:
    """Bring a hub repository's configuration and safetensors into the local hub cache.

    Parameters
    ----------
    hub_id
        ``owner/name``, with ``@revision`` behind it to pin a commit.
    download
        Called as ``huggingface_hub.snapshot_download`` is; none takes that.

    Raises
    ------
    InvalidInputError
        The extra is not installed.
    ModelUnavailableError
        There is no such repository, or the hub cannot be reached.
    """
    if download is None:
        _transformers()  # which brings huggingface_hub
        download = importlib.import_module("huggingface_hub").snapshot_download
    name, _, revision = hub_id.partition("@")
    try:
        found = download(name, revision=revision or None, allow_patterns=_HUB_FILES)
    except Exception as error:  # HTTP, offline and validation errors share no narrower base
        raise ModelUnavailableError(
            f"{hub_id!r} is no file or folder here, and cannot be fetched as a hub id: "
            f"{_first_line(error)}"
        ) from error
    return Path(found)


def _transformers() -> Any:  # Any: an optional dependency
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise InvalidInputError(
            "transformers is not installed, and this model needs it: "
            "pip install 'xaiserve[transformers]', or give an ONNX file"
        ) from error


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Keep the progress bar and advice on training off the user's screen."""
    level = transformers.logging.get_verbosity()
    bar = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity(logging.CRITICAL)
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bar:
            transformers.logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0] or type(error).__name__
