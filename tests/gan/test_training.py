"""Steps and their loop: what is learnt, what is drawn, and that any part can be repeated."""

import dataclasses

import numpy as np
import pytest
import torch

from xaiserve.errors import TrainingFailedError
from xaiserve.gan.step import critic_step, generator_step
from xaiserve.gan.training import (
    Share,
    epoch_order,
    make_batch,
    rate_at,
    steps_per_epoch,
    train,
)
from xaiserve.perturb.rng import Keys
from xaiserve.testing.gans import TINY, squares, tiny_pictures, tiny_players

KEYS = Keys.root(0, "training")
OPTIONS = TINY.options


@pytest.fixture(scope="module")
def pictures():
    return tiny_pictures()


def state(players):
    networks = (players.generator, players.critic)
    return [weights.clone() for network in networks for weights in network.state_dict().values()]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_each_step_changes_its_own_network_only(pictures):
    players = tiny_players()
    batch = make_batch(pictures, np.arange(4) * 3, OPTIONS, KEYS)
    before = [w.clone() for w in players.generator.parameters()]
    found = critic_step(players, batch, OPTIONS)
    assert equal(before, list(players.generator.parameters()))
    assert set(found) == {
        f"critic_{name}" for name in ("real", "fake", "class", "penalty", "gradient")
    }
    before = [w.clone() for w in players.critic.parameters()]
    generator_step(players, batch, OPTIONS)
    assert equal(before, list(players.critic.parameters()))
    assert all(w.requires_grad for w in players.critic.parameters())


def test_training_teaches_the_critic_to_tell_the_classes_apart(pictures):
    options = dataclasses.replace(OPTIONS, epochs=12, learning_rate=5e-3, flip_vertical=0.0)
    players = tiny_players()
    losses = [step.losses["critic_class"] for step in train(players, pictures, options, KEYS)]
    assert len(losses) == 36
    assert np.mean(losses[-8:]) < 0.8 * np.mean(losses[:8])


def test_the_generator_learns_to_leave_pictures_of_the_class_as_they_are(pictures):
    preset = dataclasses.replace(
        TINY, architecture=dataclasses.replace(TINY.architecture, residual=False)
    )
    options = dataclasses.replace(OPTIONS, epochs=6, critic_steps=1, learning_rate=5e-3)
    players = tiny_players(preset)
    found = [step.losses["generator_identity"] for step in train(players, pictures, options, KEYS)]
    assert np.mean(found[-5:]) < 0.8 * np.mean(found[:5])


def test_a_guide_is_heard_and_its_weights_stay(pictures):
    weight = torch.tensor(5.0, requires_grad=False)

    def brightest(images):
        top = weight * (images.amax(dim=(1, 2, 3)) - 0.75)
        return torch.stack([-top, top], dim=1)

    players = tiny_players(guide=brightest)
    batch = make_batch(pictures, np.arange(4) * 3, OPTIONS, KEYS)
    assert generator_step(players, batch, OPTIONS)["generator_guide"] > 0


def test_training_from_the_middle_is_training_from_the_start(pictures):
    whole, parts = tiny_players(), tiny_players()
    for _ in train(whole, pictures, OPTIONS, KEYS):
        pass
    for step in train(parts, pictures, OPTIONS, KEYS):
        if step.number == 4:  # in the middle of the second epoch
            break
    rest = [step.number for step in train(parts, pictures, OPTIONS, KEYS, start=4)]
    assert rest == [5, 6, 7, 8, 9]
    assert equal(state(whole), state(parts))


def test_the_generator_steps_once_in_so_many_batches(pictures):
    steps = list(train(tiny_players(), pictures, OPTIONS, KEYS))
    assert [step.number for step in steps if "generator_identity" in step.losses] == [2, 4, 6, 8]
    assert [step.epoch for step in steps] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_nan_stops_the_training_before_it_reaches_the_weights(pictures):
    broken = dataclasses.replace(pictures, inputs=pictures.inputs.clone())
    broken.inputs[:] = float("nan")
    players = tiny_players()
    before = state(players)
    with pytest.raises(TrainingFailedError, match="diverged: critic_real"):
        next(train(players, broken, OPTIONS, KEYS))
    assert equal(before, state(players))


def test_an_epoch_shows_as_many_of_the_larger_class_as_of_the_smaller(pictures):
    rows = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7])
    uneven = pictures._rows(torch.isin(torch.arange(12), rows))
    assert uneven.counts == (6, 2)
    order = epoch_order(uneven, OPTIONS, KEYS)
    assert sorted(uneven.classes[torch.from_numpy(order)].tolist()) == [0, 0, 1, 1]
    everything = dataclasses.replace(OPTIONS, balance=False)
    assert sorted(epoch_order(uneven, everything, KEYS)) == list(range(8))
    assert steps_per_epoch(uneven, OPTIONS) == 1
    assert steps_per_epoch(uneven, everything) == 2


def test_epochs_differ_and_repeat(pictures):
    one, other = (epoch_order(pictures, OPTIONS, KEYS.child("epoch", e)) for e in (0, 1))
    assert not np.array_equal(one, other)
    assert np.array_equal(one, epoch_order(pictures, OPTIONS, KEYS.child("epoch", 0)))


def test_a_batch_flips_and_adds_noise_as_high_as_it_shall_be(pictures):
    rows = np.arange(8)
    always = dataclasses.replace(OPTIONS, flip_horizontal=1.0, flip_vertical=0.0, noise=0.2)
    batch = make_batch(pictures, rows, always, KEYS)
    assert torch.equal(batch.inputs, pictures.inputs[:8].float().flip(3))
    assert 0 <= float(batch.noise.min()) <= 0.01
    assert 0.19 <= float(batch.noise.max()) <= 0.2
    assert batch.mixing.shape == (8, 1, 1, 1)
    never = dataclasses.replace(OPTIONS, flip_horizontal=0.0, flip_vertical=0.0)
    assert torch.equal(make_batch(pictures, rows, never, KEYS).inputs, pictures.inputs[:8].float())


def test_workers_share_every_batch_without_overlap(pictures):
    whole = make_batch(pictures, np.arange(8), OPTIONS, KEYS)
    shares = [Share(rank, 3) for rank in range(3)]
    parts = [whole[share.rank :: share.world] for share in shares]
    assert sum(len(part.inputs) for part in parts) == 8
    assert torch.equal(parts[1].noise, whole.noise[[1, 4, 7]])
    assert torch.equal(parts[1].span.high, whole.span.high[[1, 4, 7]])


def test_the_rate_is_constant_unless_it_shall_fall():
    assert rate_at(0.99, OPTIONS) == OPTIONS.learning_rate
    falling = dataclasses.replace(OPTIONS, decay=0.5, learning_rate=1.0)
    assert [rate_at(done, falling) for done in (0, 0.5, 0.75, 1)] == [1, 1, 0.5, 0]


def test_training_in_fewer_bits_keeps_its_losses_finite(pictures):
    players = tiny_players(precision=torch.bfloat16)
    batch = make_batch(pictures, np.arange(4) * 3, OPTIONS, KEYS)
    found = critic_step(players, batch, OPTIONS) | generator_step(players, batch, OPTIONS)
    exact = tiny_players()
    expected = critic_step(exact, batch, OPTIONS)
    assert found["critic_class"] == pytest.approx(expected["critic_class"], rel=0.1)


def test_lit_squares_are_lit():
    assert float(squares(2, lit=False).max()) <= 0.5
    assert float(squares(2, lit=True).max()) == 1
