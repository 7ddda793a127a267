"""Generator and critic of DeScarGAN.

J. Wolleb et al., arXiv 2007.14118; the layers are those of the authors' released code. Ours, and
off in the published sizes: ``fold`` and ``residual`` (see `Architecture`), and InstanceNorm.
"""

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from xaiserve.gan.architecture import CRITIC_POOLS, Architecture
from xaiserve.perturb.rng import Keys

CLASSES: Final = 2

_STAGES: Final = ((1, 1), (2, 1), (4, 2), (8, 2), (8, 2), (16, 1))
"""Critic: channels over ``critic_width`` and convolutions of each stage; poolings lie between."""

_CLASS_UNITS: Final = 64
_NORM_MOMENTUM: Final = 0.01

Inputs = Float[Tensor, "n c s s"]
"""Pictures for the network: square, in [-1, 1] but for noise."""


class Generator(nn.Module):
    """Translate pictures into one of two classes: one U-net, and a branch for each class.

    The skip at full size is not used, as in the original.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = a = architecture
        pixels = a.channels * a.fold**2
        widths = [a.width << level for level in range(a.depth + 1)]
        self.encoder = nn.ModuleList(
            _twice(inner, outer, a.norm)
            for inner, outer in zip([pixels + CLASSES, *widths], widths, strict=False)
        )
        # From the deepest level up; the last one has no blocks of its own but the branches.
        self.ups = nn.ModuleList(
            _up(widths[level], widths[level - 1], a.norm) for level in range(a.depth, 0, -1)
        )
        self.decoder = nn.ModuleList(
            _twice(2 * widths[level - 1], widths[level - 1], a.norm)
            for level in range(a.depth, 1, -1)
        )
        self.branches = nn.ModuleList(_branch(a, pixels) for _ in range(CLASSES))

    @override
    def forward(self, inputs: Inputs, target: int) -> Inputs:
        """Translate all of ``inputs`` into class ``target``."""
        fold = self.architecture.fold
        folded = functional.pixel_unshuffle(inputs, fold)
        wish = folded.new_zeros(len(folded), CLASSES, *folded.shape[2:])
        wish[:, target] = 1
        found = torch.cat([folded, wish], dim=1)
        levels: list[Tensor] = []
        for level, blocks in enumerate(self.encoder):
            found = blocks(functional.max_pool2d(found, 2) if level else found)
            levels.append(found)
        for up, blocks, skip in zip(self.ups, self.decoder, levels[-2:0:-1], strict=False):
            found = blocks(torch.cat([up(found), skip], dim=1))
        drawn = torch.tanh(self.branches[target](self.ups[-1](found)))
        drawn = functional.pixel_shuffle(drawn, fold)
        # A change of up to 2 reaches every level from every other.
        return inputs + 2 * drawn if self.architecture.residual else drawn


class Critic(nn.Module):
    """Judge pictures: how real as one of each class (Wasserstein), and which class.

    Parameters
    ----------
    architecture
        Its sizes.
    dropout
        Share of the class head's units that `classify` drops; drawn from ``draws``.
    """

    def __init__(self, architecture: Architecture, dropout: float = 0.1) -> None:
        super().__init__()
        a = architecture
        first = a.fold.bit_length() - 1  # folding stands for the poolings that it makes needless
        self.fold = a.fold
        self.dropout = dropout
        self.draws: torch.Generator | None = None
        layers: list[nn.Module] = []
        inner = a.channels * a.fold**2
        for number, (multiple, convolutions) in enumerate(_STAGES[first:]):
            layers += [nn.MaxPool2d(2)] if number else []
            for _ in range(convolutions):
                layers += [_conv(inner, multiple * a.critic_width), nn.ReLU()]
                inner = multiple * a.critic_width
        self.trunk = nn.Sequential(*layers)
        self.heads = nn.ModuleList(_critic_head(inner) for _ in range(CLASSES))
        side = a.side >> (CRITIC_POOLS + 1)
        self.before = nn.Sequential(
            *(_conv(inner, inner), nn.ReLU(), _conv(inner, inner), nn.ReLU()),
            *(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(inner * side**2, _CLASS_UNITS), nn.ReLU()),
        )
        self.last = nn.Linear(_CLASS_UNITS, CLASSES)

    def features(self, inputs: Inputs) -> Float[Tensor, "n f t t"]:
        """Compute what all heads share."""
        found: Tensor = self.trunk(functional.pixel_unshuffle(inputs, self.fold))
        return found

    def realness(self, features: Tensor, target: int) -> Float[Tensor, "n 1 u u"]:
        """Judge each place by the critic of class ``target``; higher is more real."""
        found: Tensor = self.heads[target](features)
        return found

    def classify(self, features: Tensor) -> Float[Tensor, "n 2"]:
        """Return logits of the classes."""
        found: Tensor = self.before(features)
        if self.training and self.dropout:
            kept = torch.rand(found.shape, generator=self.draws, device=found.device)
            found = found * (kept >= self.dropout) / (1 - self.dropout)
        logits: Tensor = self.last(found)
        return logits

    @override
    def forward(self, inputs: Inputs, target: int) -> Float[Tensor, "n 1 u u"]:
        return self.realness(self.features(inputs), target)


def initialise(generator: Generator, critic: Critic, keys: Keys) -> None:
    """Draw all weights: Kaiming-normal for the generator, Xavier-normal for the critic.

    Biases are 0. A residual generator's last convolutions are 0, so that it starts as the identity.
    """
    draws = torch.Generator().manual_seed(keys.below(2**62)[0])
    for module in generator.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=draws)
            _zero(module.bias)
    for module in critic.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.xavier_normal_(module.weight, generator=draws)
            _zero(module.bias)
    if generator.architecture.residual:
        for branch in generator.branches:
            last = [module for module in branch.modules() if isinstance(module, nn.Conv2d)][-1]
            nn.init.zeros_(last.weight)


def _zero(bias: Tensor | None) -> None:
    if bias is not None:
        nn.init.zeros_(bias)


def _conv(inner: int, outer: int) -> nn.Conv2d:
    return nn.Conv2d(inner, outer, 3, padding=1)


def _norm(channels: int, kind: str) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(channels, momentum=_NORM_MOMENTUM)
    return nn.InstanceNorm2d(channels, affine=True)


def _block(inner: int, outer: int, norm: str) -> list[nn.Module]:
    return [_conv(inner, outer), _norm(outer, norm), nn.ReLU()]


def _twice(inner: int, outer: int, norm: str) -> nn.Sequential:
    return nn.Sequential(*_block(inner, outer, norm), *_block(outer, outer, norm))


def _up(inner: int, outer: int, norm: str) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), *_block(inner, outer, norm))


def _branch(a: Architecture, pixels: int) -> nn.Sequential:
    # A normalised output would make every change as large as every other.
    last = [] if a.residual else [_norm(pixels, a.norm)]
    return nn.Sequential(*_block(a.width, a.width, a.norm), _conv(a.width, pixels), *last)


def _critic_head(channels: int) -> nn.Sequential:
    return nn.Sequential(
        *(_conv(channels, channels), nn.ReLU(), _conv(channels, channels), nn.ReLU()),
        nn.Conv2d(channels, 1, 1, padding=1),
    )
