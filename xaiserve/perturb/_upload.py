"""How descriptions get to the device that composes from them."""

import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """Return ``tensor`` on ``device``, there converted to ``dtype``.

    To a GPU it goes from page-locked memory, which the caller does not wait for: later work of the
    same stream finds it there. (Its memory is kept until the copy is done, and used again.)
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True).to(dtype or tensor.dtype)
