"""A model that takes a fixed time per batch and no CPU, and notes what it was asked."""

import os
import time
from pathlib import Path
from typing import Final

import torch

from xaiserve.models.spec import ModelSpec
from xaiserve.testing.toys import toy_spec

LATENCY_S: Final = 0.020
SIDE: Final = 24
NOTES: Final = "XAISERVE_BENCHMARK_NOTES"
"""Environment variable: the file that gets a line per batch."""


def make() -> tuple["FixedLatency", ModelSpec]:
    """Make the model; a factory as ``--model`` takes it."""
    notes = os.environ[NOTES]  # noqa: TID251 -- how a benchmark reaches into a replica
    return FixedLatency(Path(notes)), toy_spec(torch.zeros(3, SIDE, SIDE))


class FixedLatency:
    """Sleeps, and says that every class is equally likely."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        with self._notes.open("a") as notes:
            notes.write(f"{time.monotonic()} {len(inputs)}\n")
        time.sleep(LATENCY_S)
        return torch.zeros(len(inputs), 2)
