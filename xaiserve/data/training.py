"""Train the embedded classifier on planted lesions, whole and partly hidden, from one seed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from xaiserve.data.network import LABELS, LesionNetwork, build
from xaiserve.data.occlusion import lesion_visible, random_shown
from xaiserve.data.planted import planted_samples
from xaiserve.data.sample import SIDE, Sample
from xaiserve.models.spec import ModelSpec, Resize
from xaiserve.perturb.rng import Keys

# Mid-grey, the middle of every background, becomes model input 0: what hides a lesion by default
# looks like background.
EMBEDDED_SPEC: Final = ModelSpec(
    height=SIDE,
    width=SIDE,
    channels=1,
    mean=(0.5,),
    std=(0.25,),
    resize=Resize(mode="shorter", side_px=SIDE),
    labels=LABELS,
)

Picture = Float32[np.ndarray, "h w"]
"""In image units, [0, 1]."""

OnStep = Callable[[int, float], None]
"""Told the number of the step and its loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How the embedded weights are made.

    Parameters
    ----------
    seed
        Of pictures, occlusions and initial weights.
    pictures
        Size of the pool of generated pictures; each is hidden anew every time.
    steps, batch_rows
        Optimiser steps, and pictures per step.
    learning_rate
        The highest, of a single cosine cycle.
    """

    seed: int = 0
    pictures: int = 1500
    steps: int = 1000
    batch_rows: int = 64
    learning_rate: float = 3e-3

    def run(self, on_step: OnStep | None = None) -> LesionNetwork:
        """Train from nothing; return the network in evaluation mode."""
        keys = Keys.root(self.seed, "embedded")
        network = build().train()
        _initialise(network, keys.child("weights"))
        pool = list(planted_samples(self.seed, self.pictures))
        optimiser = torch.optim.AdamW(network.parameters(), lr=self.learning_rate)
        rate = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=self.learning_rate, total_steps=self.steps
        )
        for number in range(self.steps):
            draws = keys.child("step", number).generator()
            inputs, targets = training_batch(pool, draws, self.batch_rows)
            loss = nn.functional.cross_entropy(network(inputs), targets)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            rate.step()
            if on_step is not None:
                on_step(number, loss.item())
        return network.eval()


def training_batch(
    pool: Sequence[Sample], draws: np.random.Generator, rows: int
) -> tuple[Float32[Tensor, "n 1 h w"], Int64[Tensor, " n"]]:
    """Draw normalised inputs and class indices: hidden, mirrored, with shades changed a little."""
    pictures: list[Picture] = []
    targets: list[int] = []
    while len(pictures) < rows:
        found = occluded(pool[int(draws.integers(len(pool)))], draws)
        if found is not None:
            pictures.append(_vary(found[0], draws))
            targets.append(found[1])
    images = torch.from_numpy(np.stack(pictures)).unsqueeze(1)
    return EMBEDDED_SPEC.normalise(images), torch.tensor(targets)


def occluded(sample: Sample, draws: np.random.Generator) -> tuple[Picture, int] | None:
    """Hide part of a picture; return it with its class index, or None when that is ambiguous.

    The fill is mid-grey in two of three cases and another grey, never a white that could complete a
    shape, in the third.
    """
    points = [_middle(feature.mask) for feature in sample.features]
    shown = random_shown(draws, points)
    visible = lesion_visible(sample, shown)
    if visible is None:
        return None
    fill = np.float32(0.5 if draws.integers(3) else draws.uniform(0, 0.75))
    picture = sample.image.astype(np.float32) / 255
    return fill + (picture - fill) * shown, int(visible)


def occluded_set(samples: Sequence[Sample], keys: Keys) -> Iterator[tuple[Picture, int]]:
    """Hide part of each sample in turn, leaving out the ambiguous ones."""
    for sample in samples:
        found = occluded(sample, keys.child(sample.name).generator())
        if found is not None:
            yield found


def accuracy(network: nn.Module, pictures: Sequence[Picture], targets: Sequence[int]) -> float:
    """Share of ``pictures`` (image units) whose top class is the target."""
    hits = 0
    with torch.inference_mode():
        for start in range(0, len(pictures), 64):
            images = torch.from_numpy(np.stack(pictures[start : start + 64])).unsqueeze(1)
            decided = network(EMBEDDED_SPEC.normalise(images)).argmax(dim=1)
            hits += int((decided == torch.tensor(targets[start : start + 64])).sum())
    return hits / len(pictures)


def _initialise(network: nn.Module, keys: Keys) -> None:
    """Draw every convolution from the key, not from torch's global state."""
    generator = torch.Generator().manual_seed(keys.below(2**62)[0])
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _vary(picture: Picture, draws: np.random.Generator) -> Picture:
    """Mirror half of the pictures; change contrast and brightness by a few per cent."""
    mirrored = picture[:, ::-1] if draws.integers(2) else picture
    contrast, brightness = draws.uniform(0.9, 1.1), draws.uniform(-0.03, 0.03)
    varied = 0.5 + (mirrored - 0.5) * np.float32(contrast) + np.float32(brightness)
    return np.asarray(np.clip(varied, 0, 1), dtype=np.float32)


def _middle(mask: "np.typing.NDArray[np.bool_]") -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())
