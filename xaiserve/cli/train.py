"""``xaiserve train``: models from labelled pictures."""

from collections.abc import Mapping
from typing import Final

import click

from xaiserve.cli.main import Entry, LazyGroup

TRAININGS: Final[Mapping[str, Entry]] = {
    "classifier": Entry(
        "xaiserve.cli.train_classifier:command", "Train a small classifier on folders of pictures."
    ),
    "contrast-gan": Entry(
        "xaiserve.cli.train_contrast_gan:command",
        "Train a GAN that redraws pictures of one class as another.",
    ),
}


@click.group(name="train", cls=LazyGroup, entries=TRAININGS)
def command() -> None:
    """Train a model on labelled pictures."""
