"""A contrast GAN and pictures so small that a test can train it for a few steps."""

from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image as PillowImage

from xaiserve.gan.architecture import Architecture
from xaiserve.gan.images import Pictures, pictures_of
from xaiserve.gan.networks import Critic, Generator, initialise
from xaiserve.gan.options import Preset, TrainingOptions
from xaiserve.gan.step import Players, make_players
from xaiserve.perturb.rng import Keys
from xaiserve.types import Images

SIDE: Final = 64
LABELS: Final = ("dark", "lit")

TINY: Final = Preset(
    architecture=Architecture(
        side=SIDE, width=4, depth=1, critic_width=1, fold=8, residual=True, norm="instance"
    ),
    options=TrainingOptions(epochs=3, batch=4, critic_steps=2, learning_rate=1e-3),
)


def squares(count: int, *, lit: bool) -> Images:
    """Draw noise in [0, 0.5]; when ``lit``, with a white square somewhere, (n, 1, 64, 64)."""
    draws = np.random.default_rng(int(lit))
    images = draws.random((count, 1, SIDE, SIDE), dtype=np.float32) / 2
    for row in range(count if lit else 0):
        at = 8 * (row % 6)
        images[row, :, at : at + 16, at : at + 16] = 1
    return torch.from_numpy(images)


def tiny_pictures(count: int = 6) -> Pictures:
    """Draw ``count`` dark and as many lit pictures."""
    return pictures_of([squares(count, lit=lit) for lit in (False, True)], LABELS, SIDE)


def tiny_players(preset: Preset = TINY, **more: Any) -> Players:  # Any: of `make_players`
    """Make both networks, from the same weights each time."""
    generator = Generator(preset.architecture)
    critic = Critic(preset.architecture, preset.options.dropout)
    initialise(generator, critic, Keys.root(0, "test"))
    return make_players(generator, critic, preset.options, **more)


def write_squares(folder: Path, count: int = 6) -> tuple[str, str]:
    """Write both classes as folders of PNG files; return the folders."""
    for lit, label in enumerate(LABELS):
        (folder / label).mkdir(parents=True)
        for row, image in enumerate(squares(count, lit=bool(lit))):
            grey = (image[0] * 255).round().to(torch.uint8).numpy()
            PillowImage.fromarray(grey).save(folder / label / f"{row:02d}.png")
    return str(folder / LABELS[0]), str(folder / LABELS[1])
