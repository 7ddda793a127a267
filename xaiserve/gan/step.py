"""One step of the critic and one of the generator; the loop is in `training`."""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from xaiserve.errors import TrainingFailedError
from xaiserve.gan import losses
from xaiserve.gan.networks import CLASSES, Critic, Generator
from xaiserve.gan.options import TrainingOptions
from xaiserve.gan.ranges import Span

Average = Callable[[Iterable[nn.Parameter]], None]
"""Makes gradients the mean over all workers, in place."""

Guide = Callable[[Tensor], Tensor]
"""A classifier at rest: pictures (n, c, s, s) in [0, 1] to logits (n, 2) in the classes' order."""

LossValues = dict[str, float]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Batch:
    """What one step sees.

    Parameters
    ----------
    inputs
        Pictures in [-1, 1], flipped, without noise.
    classes
        Of each picture, 0 or 1.
    span
        What -1 and 1 mean in each picture.
    noise
        Added to the pictures and to everything drawn from them.
    mixing
        The share ``a`` of the picture in both of its mixtures.
    """

    inputs: Float32[Tensor, "n c s s"]
    classes: losses.Classes
    span: Span
    noise: Float32[Tensor, "n c s s"]
    mixing: Float32[Tensor, "n 1 1 1"]

    def __getitem__(self, rows: slice) -> "Batch":
        return self._each(lambda part: part[rows])

    def to(self, device: torch.device) -> "Batch":
        """Return a copy on ``device``."""
        return self._each(lambda part: part.to(device))

    def _each(self, change: Callable[[Any], Any]) -> "Batch":  # Any: a tensor or a span
        return Batch(**{each.name: change(getattr(self, each.name)) for each in fields(self)})


@dataclass(frozen=True, slots=True, eq=False)
class Players:
    """Both networks in training state, and their optimisers.

    Parameters
    ----------
    precision
        What convolutions are computed in (autocast); the gradient penalty and all losses are
        float32.
    average
        Called between backward and update.
    guide
        A classifier whose answer to what is drawn joins the class head's; ours, none by default.
    """

    generator: Generator
    critic: Critic
    generator_optimiser: torch.optim.Optimizer
    critic_optimiser: torch.optim.Optimizer
    precision: torch.dtype = torch.float32
    average: Average = lambda _: None
    guide: Guide | None = None

    def computing(self) -> AbstractContextManager[None]:
        """Compute in `precision`."""
        if self.precision is torch.float32:
            return nullcontext()
        device = next(self.generator.parameters()).device.type
        return torch.autocast(device, self.precision)


def make_players(
    generator: Generator,
    critic: Critic,
    options: TrainingOptions,
    *,
    precision: torch.dtype = torch.float32,
    average: Average = lambda _: None,
    guide: Guide | None = None,
) -> Players:
    """Give each network its Adam."""

    def adam(network: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(
            network.parameters(), lr=options.learning_rate, betas=(options.beta1, options.beta2)
        )

    return Players(
        generator=generator.train(),
        critic=critic.train(),
        generator_optimiser=adam(generator),
        critic_optimiser=adam(critic),
        precision=precision,
        average=average,
        guide=guide,
    )


def critic_step(players: Players, batch: Batch, options: TrainingOptions) -> LossValues:
    """Update the critic: L_D = 20 L_real + 20 L_fake + 10 L_gp + 5 L_cls.

    Raises
    ------
    TrainingFailedError
        A loss or a gradient is not finite; the weights are as they were.
    """
    critic, real = players.critic, batch.inputs + batch.noise
    with players.computing():
        with torch.no_grad():
            fakes = [players.generator(real, c) + batch.noise for c in range(CLASSES)]
        features = critic.features(real)
        found = {
            "real": losses.real_loss(
                [critic.realness(features, c) for c in range(CLASSES)], batch.classes
            ),
            "fake": losses.fake_loss(
                [critic(fake, c) for c, fake in enumerate(fakes)], batch.classes
            ),
            "class": losses.class_loss(critic.classify(features), batch.classes),
        }
    # Outside: squares of gradients do not bear few bits.
    found["penalty"] = torch.stack(
        [_penalty(critic, real, fake, batch.mixing, c) for c, fake in enumerate(fakes)]
    ).sum()
    weights = {
        "real": options.real_weight,
        "fake": options.fake_weight,
        "class": options.class_weight,
        "penalty": options.penalty_weight,
    }
    return _update(players, critic, found, weights, options.clip)


def generator_step(players: Players, batch: Batch, options: TrainingOptions) -> LossValues:
    """Update the generator: L_G = L_adv + 50 L_rec + 50 L_id + L_cls.

    Raises
    ------
    TrainingFailedError
        A loss or a gradient is not finite; the weights are as they were.
    """
    generator, critic = players.generator, players.critic
    real = batch.inputs + batch.noise
    critic.requires_grad_(False)
    try:
        with players.computing():
            drawn = [generator(real, c) + batch.noise for c in range(CLASSES)]
            features = [critic.features(each) for each in drawn]
            found = {
                "adversarial": losses.adversarial_loss(
                    [critic.realness(each, c) for c, each in enumerate(features)]
                ),
                "target": losses.target_loss([critic.classify(each) for each in features]),
                "identity": losses.pixel_loss(real, _chosen(drawn, batch.classes), batch.classes),
                "reconstruction": losses.pixel_loss(
                    real, _round_trip(generator, drawn, batch), batch.classes
                ),
                "change": losses.change_loss(real, drawn),
            }
            if players.guide is not None:
                images = [batch.span.to_images(each.float()) for each in drawn]
                found["guide"] = losses.target_loss([players.guide(each) for each in images])
    finally:
        critic.requires_grad_(True)
    weights = {
        "adversarial": options.adversarial_weight,
        "target": options.target_weight,
        "identity": options.identity_weight,
        "reconstruction": options.reconstruction_weight,
        "change": options.change_weight,
        "guide": options.guide_weight,
    }
    return _update(players, generator, found, weights, options.clip)


def _penalty(critic: Critic, real: Tensor, fake: Tensor, mixing: Tensor, target: int) -> Tensor:
    mixture = (mixing * real + (1 - mixing) * fake.float()).requires_grad_()
    return losses.gradient_penalty(critic(mixture, target), mixture)


def _chosen(drawn: list[Tensor], classes: losses.Classes) -> Tensor:
    """Take of each picture its translation into the class named."""
    return torch.where(classes.view(-1, 1, 1, 1) == 0, drawn[0], drawn[1])


def _round_trip(generator: Generator, drawn: list[Tensor], batch: Batch) -> Tensor:
    """Translate each picture into the other class and back; a batch has one target at a time."""
    back = torch.zeros_like(batch.inputs)
    for own in range(CLASSES):
        rows = batch.classes == own
        if rows.any():
            returned = generator(drawn[1 - own][rows], own) + batch.noise[rows]
            back[rows] = returned.to(back.dtype)
    return back


def _update(
    players: Players,
    network: Generator | Critic,
    found: dict[str, Tensor],
    weights: dict[str, float],
    clip: float,
) -> LossValues:
    if isinstance(network, Critic):
        name, optimiser = "critic", players.critic_optimiser
    else:
        name, optimiser = "generator", players.generator_optimiser
    total = torch.stack([weights[key] * loss for key, loss in found.items()]).sum()
    optimiser.zero_grad(set_to_none=True)
    total.backward()  # type: ignore[no-untyped-call]
    players.average(network.parameters())
    norm = nn.utils.clip_grad_norm_(network.parameters(), clip)
    values = torch.stack([*(loss.detach() for loss in found.values()), norm]).tolist()
    told = dict(zip([f"{name}_{key}" for key in (*found, "gradient")], values, strict=True))
    bad = [key for key, value in told.items() if not math.isfinite(value)]
    if bad:
        raise TrainingFailedError(f"training has diverged: {', '.join(bad)} is not finite")
    optimiser.step()
    return told
