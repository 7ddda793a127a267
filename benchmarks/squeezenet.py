"""SqueezeNet 1.1 as a user's own module: the factory path of the model benchmark."""

from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from typing_extensions import override

from xaiserve.models.spec import ModelSpec
from xaiserve.models.spec_files import read_spec

FOLDER: Final = (
    Path(__file__).resolve().parents[2]
    / "shared"
    / "data"
    / "classifiers"
    / "squeezenet1_1_imagenet1k"
)


class Fire(nn.Module):
    """Squeeze to few channels by 1x1, expand by 1x1 and 3x3 side by side (section 3.1)."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        squeezed = self.squeeze(inputs).relu()
        return torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], dim=1).relu()


class SqueezeNet(nn.Module):
    """SqueezeNet 1.1 with 1000 classes, under the published parameter names.

    References
    ----------
    Iandola et al., *SqueezeNet: AlexNet-level accuracy with 50x fewer parameters*,
    arXiv:1602.07360.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 3, stride=2), nn.ReLU(), nn.MaxPool2d(3, stride=2)),
            *(Fire(64, 16, 64), Fire(128, 16, 64), nn.MaxPool2d(3, stride=2)),
            *(Fire(128, 32, 128), Fire(256, 32, 128), nn.MaxPool2d(3, stride=2)),
            *(Fire(256, 48, 192), Fire(384, 48, 192)),
            *(Fire(384, 64, 256), Fire(512, 64, 256)),
        )
        self.classifier = nn.Sequential(nn.Dropout(), nn.Conv2d(512, 1000, 1), nn.ReLU())

    @override
    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.features(inputs)).mean(dim=(2, 3))
        return logits


def make() -> tuple[nn.Module, ModelSpec]:
    """Build the network, fill it from the bare state dict, and say what it takes."""
    network = SqueezeNet()
    network.load_state_dict(load_file(FOLDER / "model.safetensors"))
    return network, read_spec(FOLDER)
