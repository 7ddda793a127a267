"""An `nn.Module`, or any callable on tensors, as a runner and with gradients."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from xaiserve.errors import ClassifierFaultError, InvalidInputError
from xaiserve.models.spec import ModelSpec
from xaiserve.types import Images, Scores

Network = Callable[[Tensor], Tensor]
"""Normalised inputs (n, c, h, w) to raw outputs (n, k)."""


@dataclass(frozen=True, eq=False, kw_only=True)
class TorchRunner:
    """Runs a network in eager torch, without a graph for gradients.

    Parameters
    ----------
    network
        In inference state, on ``device``.
    device
        Where it computes.
    layout
        Memory layout of the inputs; the network's weights have the same.
    dtype
        What products and convolutions are computed in (autocast); weights stay as they are.
    """

    network: Network
    device: torch.device
    layout: torch.memory_format = torch.contiguous_format
    dtype: torch.dtype = torch.float32

    @property
    def threads(self) -> int:
        return torch.get_num_threads()

    @property
    def streams(self) -> int:
        return 1

    @property
    def fixed_rows(self) -> int | None:
        return None

    def outputs(self, inputs: Images) -> Tensor:
        """Compute raw outputs (n, k), float32.

        Raises
        ------
        ClassifierFaultError
            The network raised, or returned no tensor.
        OutOfMemoryError
            Of torch: the batch is too large for the device.
        """
        with torch.inference_mode(), full_precision(self.device), self._computing():
            try:
                found = self.network(inputs.contiguous(memory_format=self.layout))
            except torch.OutOfMemoryError:
                raise
            except Exception as error:
                raise ClassifierFaultError(f"the network raised {_summary(error)}") from error
            # What a user's callable returns is whatever it is.
            if not isinstance(found, Tensor):
                raise ClassifierFaultError(
                    f"the network must return a tensor (n, k), got {type(found).__name__}"
                )
            return found.float()

    def _computing(self) -> AbstractContextManager[None]:
        if self.dtype is torch.float32:
            return nullcontext()
        # Its cache of converted weights dies with the context, and a CUDA graph would outlive it.
        return torch.autocast(self.device.type, self.dtype, cache_enabled=False)


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Keep cuDNN from rounding float32 convolutions to ten bits (its default on newer GPUs)."""
    if device.type != "cuda":
        return nullcontext()
    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )


def _summary(error: Exception) -> str:
    first = str(error).strip().split("\n", maxsplit=1)[0]
    return f"{type(error).__name__}: {first}"


@dataclass(frozen=True, eq=False, kw_only=True)
class TorchGradients:
    """The `DifferentiableClassifier` of a module; its parameters are left as they were loaded."""

    spec: ModelSpec
    device: torch.device
    module: torch.nn.Module

    def logits(self, images: Images) -> Scores:
        """See `DifferentiableClassifier.logits`."""
        logits: Tensor = self.module(self.spec.normalise(images.to(self.device)))
        return logits


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn a device's name into a device that exists here.

    Raises
    ------
    InvalidInputError
        The name is none of torch's, or there is no such device on this machine.
    """
    try:
        found = torch.device(device)
        torch.empty(1, device=found)
    # torch asserts when it was built without CUDA, and raises when there is no driver.
    except (RuntimeError, AssertionError) as error:
        raise InvalidInputError(
            f"device must be cpu or a device of this machine such as cuda:0, got {str(device)!r} "
            f"({_summary(error)})"
        ) from error
    return found
