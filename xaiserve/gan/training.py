"""The training loop, as a generator over steps: whoever runs it saves, shows and stops.

All random numbers of a step are derived from the seed and the step's number, so that a training
that is interrupted and resumed from any step goes on as if it had not been.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch

from xaiserve.gan.images import Pictures
from xaiserve.gan.options import TrainingOptions
from xaiserve.gan.step import Batch, LossValues, Players, critic_step, generator_step
from xaiserve.perturb.rng import Keys

_SEED_BOUND: Final = 2**62


@dataclass(frozen=True, slots=True)
class Share:
    """The part of every batch that one worker takes: rows ``rank``, ``rank + world``, ..."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One finished step.

    Parameters
    ----------
    number
        Steps done, counted over all runs of the training.
    epoch
        The epoch that it belongs to, from 0.
    losses
        Of the critic, and of the generator in every `critic_steps`-th step; unweighted.
    """

    number: int
    epoch: int
    losses: LossValues = field(default_factory=dict)


def steps_per_epoch(pictures: Pictures, options: TrainingOptions) -> int:
    """Count the full batches of an epoch; one if there are fewer pictures than a batch."""
    counts = pictures.counts
    shown = 2 * min(counts) if options.balance else sum(counts)
    return max(1, shown // options.batch)


def train(
    players: Players,
    pictures: Pictures,
    options: TrainingOptions,
    keys: Keys,
    *,
    start: int = 0,
    share: Share = Share(),
) -> Iterator[Step]:
    """Do the steps after ``start`` to the end of the last epoch, yielding after each.

    Raises
    ------
    TrainingFailedError
        A loss is not finite; the weights are those of the step before.
    """
    device = next(players.generator.parameters()).device
    players.critic.draws = torch.Generator(device)
    per_epoch = steps_per_epoch(pictures, options)
    order = np.array([], dtype=np.int64)
    for number in range(start, per_epoch * options.epochs):
        epoch, place = divmod(number, per_epoch)
        if place == 0 or not len(order):
            order = epoch_order(pictures, options, keys.child("epoch", epoch))
        rows = order[place * options.batch : (place + 1) * options.batch]
        drawn = make_batch(pictures, rows, options, keys.child("step", number))
        batch = drawn[share.rank :: share.world].to(device)
        (seed,) = keys.child("dropout", number, share.rank).below(_SEED_BOUND)
        players.critic.draws.manual_seed(seed)
        _set_rate(players, rate_at(number / (per_epoch * options.epochs), options))
        found = critic_step(players, batch, options)
        if (number + 1) % options.critic_steps == 0:
            found |= generator_step(players, batch, options)
        yield Step(number=number + 1, epoch=epoch, losses=found)


def rate_at(done: float, options: TrainingOptions) -> float:
    """Return the learning rate when a share ``done`` of all steps is done."""
    if not options.decay:
        return options.learning_rate
    return options.learning_rate * min(1.0, (1 - done) / options.decay)


def _set_rate(players: Players, rate: float) -> None:
    for optimiser in (players.generator_optimiser, players.critic_optimiser):
        for group in optimiser.param_groups:
            group["lr"] = rate


def epoch_order(
    pictures: Pictures, options: TrainingOptions, keys: Keys
) -> "np.typing.NDArray[np.int64]":
    """Draw the order of an epoch; balanced, it has as many of the larger class as of the smaller.

    Deviation: the published adaptation leaves the same pictures out in every epoch.
    """
    draws = keys.generator()
    rows = [draws.permutation(np.flatnonzero(pictures.classes.numpy() == c)) for c in (0, 1)]
    if options.balance:
        rows = [each[: min(map(len, rows))] for each in rows]
    return np.asarray(draws.permutation(np.concatenate(rows)), dtype=np.int64)


def make_batch(
    pictures: Pictures,
    rows: "np.typing.NDArray[np.int64]",
    options: TrainingOptions,
    keys: Keys,
) -> Batch:
    """Take pictures, flip them, and draw the noise and the mixing of the gradient penalty."""
    draws = keys.generator()
    chosen = torch.from_numpy(rows)
    inputs = pictures.inputs[chosen].float()
    for axis, share in ((3, options.flip_horizontal), (2, options.flip_vertical)):
        flipped = torch.from_numpy(draws.random(len(rows)) < share)
        inputs[flipped] = inputs[flipped].flip(axis)
    noise = draws.random(tuple(inputs.shape), dtype=np.float32) * np.float32(options.noise)
    mixing = draws.random((len(rows), 1, 1, 1), dtype=np.float32)
    return Batch(
        inputs=inputs,
        classes=pictures.classes[chosen],
        span=pictures.span[chosen],
        noise=torch.from_numpy(noise),
        mixing=torch.from_numpy(mixing),
    )
