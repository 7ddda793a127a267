"""The embedded classifier's network: a small lesion detector whose strongest place decides."""

from typing import Final

import torch
from jaxtyping import Float32
from torch import Tensor, nn
from typing_extensions import override

LABELS: Final = ("healthy", "diseased")

_STRIDES: Final = ((16, 32, 2), (32, 48, 1), (48, 64, 2), (64, 64, 1))
"""Input channels, output channels and stride of each 3 x 3 convolution after the stem."""


class LesionNetwork(nn.Module):
    """Classify grey pictures as healthy or diseased by the best of 14 x 14 overlapping views.

    The image-level answer is the maximum over places because a picture is diseased iff *some* place
    shows a lesion: hiding pixels elsewhere then cannot change the answer, which is what gives
    explanations a known answer. Each place sees 80 x 80 pixels. About 84 000 weights and 31 million
    multiplications per picture.
    """

    def __init__(self) -> None:
        super().__init__()
        # An 8 x 8 stem of stride 4 leaves a sixteenth of the places before the first costly layer.
        self.stem = _block(1, 16, kernel=8, stride=4, padding=2)
        self.body = nn.Sequential(
            *(_block(i, o, kernel=3, stride=stride, padding=1) for i, o, stride in _STRIDES)
        )
        self.evidence = nn.Conv2d(_STRIDES[-1][1], 1, kernel_size=1)

    @override
    def forward(self, inputs: Float32[Tensor, "n 1 h w"]) -> Float32[Tensor, "n 2"]:
        """Return logits (n, 2), healthy first, for model inputs (n, 1, 224, 224)."""
        strongest = self.evidence(self.body(self.stem(inputs))).amax(dim=(2, 3))
        return torch.cat([-strongest, strongest], dim=1)


def build() -> LesionNetwork:
    """Make the network that the embedded weights fit, in evaluation mode."""
    return LesionNetwork().eval()


def _block(channels: int, out: int, *, kernel: int, stride: int, padding: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(),
    )
