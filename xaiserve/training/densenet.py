"""DenseNet-121, the network of the ``paper`` preset.

G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger, *Densely Connected Convolutional Networks*,
CVPR 2017, arXiv 1608.06993, table 1; with the head of CLEAR Image's classifiers: linear layers of
512, 256 and as many units as classes. Deviation: CLEAR's start from ImageNet weights.
"""

from typing import Final

import torch
from jaxtyping import Float32
from torch import nn
from typing_extensions import override

from xaiserve.training.network import check_sizes

GROWTH: Final = 32
BLOCKS: Final = (6, 12, 24, 16)
STEM: Final = 64
HEAD: Final = (512, 256)
_BOTTLENECK: Final = 4


class DenseLayer(nn.Module):
    """Add ``GROWTH`` maps, made from all that are there."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = _BOTTLENECK * GROWTH
        self.new = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, inner, 1, bias=False),
            nn.BatchNorm2d(inner),
            nn.ReLU(),
            nn.Conv2d(inner, GROWTH, 3, padding=1, bias=False),
        )

    @override
    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.cat([maps, self.new(maps)], dim=1)


class DenseNet(nn.Module):
    """Classify pictures of at least 32 x 32 pixels."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        parts: list[nn.Module] = [
            nn.Conv2d(channels, STEM, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(STEM),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        ]
        width = STEM
        for number, layers in enumerate(BLOCKS):
            if number:
                parts += _transition(width)
                width //= 2
            parts += [DenseLayer(width + GROWTH * layer) for layer in range(layers)]
            width += GROWTH * layers
        self.features = nn.Sequential(*parts, nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Sequential(
            nn.Linear(width, HEAD[0]), nn.ReLU(), nn.Linear(HEAD[0], HEAD[1]), nn.ReLU()
        )
        self.last = nn.Linear(HEAD[1], classes)

    @override
    def forward(self, inputs: Float32[torch.Tensor, "n c h w"]) -> Float32[torch.Tensor, "n k"]:
        """Return logits (n, k)."""
        logits: torch.Tensor = self.last(self.head(self.features(inputs).mean(dim=(2, 3))))
        return logits


def build(classes: int, channels: int) -> DenseNet:
    """Make a network in evaluation mode.

    Raises
    ------
    ValueError
        Not 2 to 10 000 classes, or channels other than 1 or 3.
    """
    check_sizes(classes, channels)
    return DenseNet(classes, channels).eval()


def _transition(width: int) -> list[nn.Module]:
    """Halve the maps, and their sides."""
    return [
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width // 2, 1, bias=False),
        nn.AvgPool2d(2),
    ]
