"""Checkpoints of a training in a store: all that the next step depends on, the last two of them."""

import io
import pickle
from dataclasses import dataclass
from typing import Any, Final

import torch

from xaiserve.errors import ArtifactNotFoundError
from xaiserve.gan.step import Players
from xaiserve.storage.objects import ObjectStore

PREFIX: Final = "training/checkpoints/step-"

_KEPT: Final = 2
_PARTS: Final = ("generator", "critic", "generator_optimiser", "critic_optimiser")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A training at one moment.

    Parameters
    ----------
    step
        Steps done.
    seconds
        Time that they took, over all runs.
    state
        State dictionaries of networks and optimisers, on the CPU.
    """

    step: int
    seconds: float
    state: dict[str, Any]  # Any: as torch nests them


def checkpoint_of(players: Players, step: int, seconds: float) -> Checkpoint:
    """Copy the state of ``players``; later steps do not change it."""
    found = {part: getattr(players, part).state_dict() for part in _PARTS}
    return Checkpoint(step=step, seconds=seconds, state=_copied(found))


def restore(players: Players, checkpoint: Checkpoint) -> None:
    """Put ``players`` into the state of a checkpoint."""
    for part in _PARTS:
        getattr(players, part).load_state_dict(checkpoint.state[part])


def save(store: ObjectStore, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all, and remove all but the last two.

    Raises
    ------
    StoreUnavailableError
        No space, no permission, no connection; earlier checkpoints are as they were.
    """
    target = io.BytesIO()
    found = {"step": checkpoint.step, "seconds": checkpoint.seconds, "state": checkpoint.state}
    torch.save(found, target)
    store.write(f"{PREFIX}{checkpoint.step:09d}.pt", target.getvalue())
    for key in store.list(PREFIX)[:-_KEPT]:
        store.remove(key)


def latest(store: ObjectStore) -> Checkpoint | None:
    """Read the newest checkpoint that is whole; None when there is none."""
    for key in reversed(store.list(PREFIX)):
        found = _read(store, key)
        if found is not None:
            return found
    return None


def _read(store: ObjectStore, key: str) -> Checkpoint | None:
    """Read one checkpoint; None when it is damaged or another process has removed it."""
    try:
        found = torch.load(io.BytesIO(store.read(key)), weights_only=True, map_location="cpu")
        return Checkpoint(step=found["step"], seconds=found["seconds"], state=found["state"])
    except (
        ArtifactNotFoundError,
        RuntimeError,
        EOFError,
        KeyError,
        TypeError,
        pickle.UnpicklingError,
    ):
        return None


def _copied(found: Any) -> Any:  # Any: as torch nests them
    if isinstance(found, torch.Tensor):
        return found.detach().cpu().clone()
    if isinstance(found, dict):
        return {key: _copied(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_copied(value) for value in found]
    return found
