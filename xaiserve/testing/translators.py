"""Translators whose pictures are known: a class is a brightness, and translating sets it."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch

from xaiserve.errors import InvalidInputError
from xaiserve.gan.architecture import Architecture
from xaiserve.gan.networks import Critic, Generator, initialise
from xaiserve.gan.translator import write_translator
from xaiserve.perturb.rng import Keys
from xaiserve.storage.opening import open_store
from xaiserve.types import Images


class ShadeTranslator:
    """Scale a picture so that its brightest value is its class's; counts what it is asked.

    Parameters
    ----------
    shades
        The brightest value of each class; NaN for a class that it fails on.

    Attributes
    ----------
    asked
        Pictures per call so far.
    """

    def __init__(
        self,
        labels: Sequence[str] = ("nothing", "evidence"),
        shades: Sequence[float] = (0.3, 0.9),
        *,
        side: int = 24,
        channels: int = 3,
    ) -> None:
        self.labels = tuple(labels)
        self.side = side
        self.channels = channels
        self.asked: list[int] = []
        self._shades = torch.tensor(shades)

    @property
    def digest(self) -> str:
        told = f"{self.labels} {self._shades.tolist()} {self.side} {self.channels}"
        return hashlib.sha256(told.encode()).hexdigest()

    def target(self, label: str) -> int:
        if label not in self.labels:
            raise InvalidInputError(f"no class {label!r}")
        return self.labels.index(label)

    def translate(self, images: Images, target: int | Sequence[int]) -> Images:
        self.asked.append(len(images))
        targets = [target] * len(images) if isinstance(target, int) else list(target)
        if bool((images == 0).all(dim=(1, 2, 3)).any()):
            raise InvalidInputError("image must not be black")
        shades = self._shades[targets].view(-1, 1, 1, 1)
        return images / images.amax(dim=(1, 2, 3), keepdim=True) * shades


def write_tiny_translator(
    folder: Path, labels: tuple[str, str], *, side: int = 64, channels: int = 1
) -> Path:
    """Write the folder of an untrained network that changes pictures visibly."""
    architecture = Architecture(
        side=side, channels=channels, width=4, depth=2, critic_width=1, fold=2
    )
    generator = Generator(architecture)
    initialise(generator, Critic(architecture), Keys.root(1, "tiny translator"))
    write_translator(open_store(folder), generator, labels, "card", training={})
    return folder
