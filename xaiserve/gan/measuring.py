"""What a translator does to pictures that it was not trained on."""

from dataclasses import dataclass

import torch
from torch import Tensor

from xaiserve.gan.images import Pictures
from xaiserve.gan.networks import Critic, Generator
from xaiserve.gan.sheets import translations
from xaiserve.gan.step import Guide


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Figures on held-out pictures; shares and means over pictures, image units.

    Parameters
    ----------
    pictures
        How many there were.
    own_change
        Mean absolute change by the translation into the picture's own class, which should be none.
    other_change
        The same into the other class.
    flipped
        Share whose translation into the other class is that class to the critic's class head.
    guide_flipped
        The same to the guide; None without one.
    """

    pictures: int
    own_change: float
    other_change: float
    flipped: float
    guide_flipped: float | None


def measure(
    generator: Generator, critic: Critic, pictures: Pictures, guide: Guide | None = None
) -> Figures:
    """Translate every picture into both classes."""
    device = next(generator.parameters()).device
    own_change: list[Tensor] = []
    other_change: list[Tensor] = []
    flips: list[Tensor] = []
    guided: list[Tensor] = []
    critic.eval()
    for own in (0, 1):
        rows = torch.nonzero(pictures.classes == own).flatten()
        if not len(rows):
            continue
        images = pictures.span[rows].to_images(pictures.inputs[rows].float())
        own_change.append(_mean_change(translations(generator, pictures, rows, own), images))
        other = translations(generator, pictures, rows, 1 - own)
        other_change.append(_mean_change(other, images))
        with torch.inference_mode():
            inputs = pictures.span[rows].to_inputs(other).to(device)
            logits = critic.classify(critic.features(inputs))
            flips.append((logits.argmax(dim=1) == 1 - own).float().cpu())
            if guide is not None:
                guided.append((guide(other.to(device)).argmax(dim=1) == 1 - own).float().cpu())
    critic.train()
    return Figures(
        pictures=len(pictures.classes),
        own_change=_mean(own_change),
        other_change=_mean(other_change),
        flipped=_mean(flips),
        guide_flipped=_mean(guided) if guided else None,
    )


def _mean_change(drawn: Tensor, images: Tensor) -> Tensor:
    return (drawn - images).abs().mean(dim=(1, 2, 3))


def _mean(parts: list[Tensor]) -> float:
    return float(torch.cat(parts).mean()) if parts else float("nan")
