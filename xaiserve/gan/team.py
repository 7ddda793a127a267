"""The workers of one training: alone, or several that average their gradients.

Gradients are averaged by hand instead of by `DistributedDataParallel`, which does not bear several
passes through one network before an update, nor the gradients of gradients of the penalty.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.distributed
from torch import nn


@runtime_checkable
class Team(Protocol):
    """Workers that do the same steps, each on its rows of every batch."""

    @property
    def rank(self) -> int: ...

    @property
    def world(self) -> int: ...

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make the gradients the mean over all workers, in place."""
        ...

    def agree(self, verdict: int) -> int:
        """Return the largest verdict of any worker."""
        ...


@dataclass(frozen=True, slots=True)
class Alone:
    """One worker."""

    rank: int = 0
    world: int = 1

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """There is nobody to average with."""

    def agree(self, verdict: int) -> int:
        """See `Team.agree`."""
        return verdict


@dataclass(frozen=True, slots=True)
class Together:
    """Workers that `torch.distributed` has brought together.

    Parameters
    ----------
    rank, world
        This worker's number and how many there are.
    device
        Where tensors that are exchanged live.
    """

    rank: int
    world: int
    device: torch.device

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """See `Team.average`; one exchange for all gradients."""
        found = [weights.grad for weights in parameters if weights.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in found])
        torch.distributed.all_reduce(flat)
        parts = torch.split(flat / self.world, [gradient.numel() for gradient in found])
        for gradient, part in zip(found, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def agree(self, verdict: int) -> int:
        """See `Team.agree`."""
        found = torch.tensor(verdict, device=self.device)
        torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
        return int(found)
