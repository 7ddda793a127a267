"""The network of the ``cpu`` preset: a few concepts, each wherever it is strongest, decide."""

from typing import Final

import torch
from jaxtyping import Float32
from torch import nn
from typing_extensions import override

CONCEPTS: Final = 16
HIDDEN: Final = 32
MAX_CLASSES: Final = 10_000

_STRIDES: Final = ((16, 32, 2), (32, 48, 1), (48, 64, 2), (64, 64, 1))
"""Input channels, output channels and stride of each 3 x 3 convolution after the stem."""


class ConceptNetwork(nn.Module):
    """Classify pictures by the strongest place of each of a few concepts.

    A concept is a map of places that each see 80 x 80 pixels; only its maximum enters the decision,
    which two linear layers make. So where something lies does not matter, and several things far
    apart may have to come together, or exclude each other. About 85 000 weights and 31 million
    multiplications for a picture of 224 x 224.
    """

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        # An 8 x 8 stem of stride 4 leaves a sixteenth of the places before the first costly layer.
        self.stem = _block(channels, 16, kernel=8, stride=4, padding=2)
        self.body = nn.Sequential(
            *(_block(i, o, kernel=3, stride=stride, padding=1) for i, o, stride in _STRIDES)
        )
        self.concepts = nn.Conv2d(_STRIDES[-1][1], CONCEPTS, kernel_size=1)
        self.hidden = nn.Linear(CONCEPTS, HIDDEN)
        self.last = nn.Linear(HIDDEN, classes)

    @override
    def forward(self, inputs: Float32[torch.Tensor, "n c h w"]) -> Float32[torch.Tensor, "n k"]:
        """Return logits (n, k) for model inputs of at least 32 x 32 pixels."""
        strongest = self.concepts(self.body(self.stem(inputs))).amax(dim=(2, 3))
        logits: torch.Tensor = self.last(self.hidden(strongest).relu())
        return logits


def build(classes: int, channels: int) -> ConceptNetwork:
    """Make a network in evaluation mode.

    Raises
    ------
    ValueError
        Not 2 to 10 000 classes, or channels other than 1 or 3.
    """
    check_sizes(classes, channels)
    return ConceptNetwork(classes, channels).eval()


def check_sizes(classes: int, channels: int) -> None:
    """Raise `ValueError` for what no network here is built for."""
    if not 2 <= classes <= MAX_CLASSES or channels not in {1, 3}:  # noqa: PLR2004
        raise ValueError(
            f"classes must be from 2 to {MAX_CLASSES} and channels 1 or 3, "
            f"got {classes} and {channels}"
        )


def _block(channels: int, out: int, *, kernel: int, stride: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )
