"""A classifier in a ``torch.export`` archive (.pt2).

Loading one runs code: `torch.export.load` falls back to unpickling, so an archive may do whatever
its author wants. It is only done when the caller says that the file is trusted.
"""

from pathlib import Path

import torch
from torch.export.passes import move_to_device_pass

from xaiserve.errors import InvalidInputError, UntrustedModelError


def load_exported(path: Path, device: torch.device, *, trust_code: bool) -> torch.nn.Module:
    """Load the program and return it as a module from normalised inputs to raw outputs.

    Raises
    ------
    UntrustedModelError
        Nobody said that the file may run code.
    InvalidInputError
        The file is no such archive.
    """
    if not trust_code:
        raise UntrustedModelError(
            f"{path} is a torch.export archive, and loading one can run code that came with it: "
            "pass --trust-code (trust_code=True) if you trust its author, or give ONNX or "
            "safetensors"
        )
    try:
        program = torch.export.load(path)
        if device.type != "cpu":
            program = move_to_device_pass(program, device)
        return program.module()
    except Exception as error:  # zip, pickle and schema errors share no narrower base
        first = str(error).strip().split("\n", maxsplit=1)[0]
        raise InvalidInputError(f"{path} cannot be loaded by torch.export: {first}") from error
