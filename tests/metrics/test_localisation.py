"""Rank accuracy, intersection over union and AUROC, by construction and against slow twins."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xaiserve.metrics.localisation import LevelIou, PixelAuroc, RankAccuracy, TopIou
from xaiserve.metrics.order import rank_pixels
from xaiserve.metrics.pointing_game import EnergyPointingGame
from xaiserve.metrics.scored import Scored
from xaiserve.perturb.rng import Keys

KEYS = Keys.root(0, "an image")

maps = arrays(np.float32, (5, 6), elements=st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0])).filter(
    lambda values: values.max() > 0
)
regions = arrays(bool, (5, 6)).filter(np.any)


def scores(saliency, region, keys=KEYS):
    """Rank accuracy, IoU and AUROC of one map."""
    return (
        RankAccuracy().score(saliency, region, keys),
        TopIou().score(saliency, region, keys),
        PixelAuroc().score(saliency, region),
    )


def corner():
    region = torch.zeros(24, 24, dtype=torch.bool)
    region[:5, :7] = True
    return region


def test_the_region_itself_is_perfect():
    assert scores(corner().float(), corner()) == (Scored(1.0),) * 3


def test_the_complement_finds_nothing():
    assert scores((~corner()).float(), corner()) == (Scored(0.0),) * 3


def test_random_maps_score_the_share_of_the_region():
    generator = KEYS.generator()
    share = corner().float().mean().item()
    found = []
    for index in range(200):
        saliency = torch.from_numpy(generator.random((24, 24), dtype=np.float32))
        keys = KEYS.child(index)
        rank = RankAccuracy().score(saliency, corner(), keys).value
        found.append((EnergyPointingGame().score(saliency, corner()).value, rank))
    for values in np.array(found).T:
        assert abs(values.mean() - share) < 3 * values.std(ddof=1) / np.sqrt(len(values))


def test_ties_favour_no_place():
    """A map with one level would hit the top left corner always, or never, if ordered by place."""
    saliency, region = torch.ones(24, 24), corner()
    values = [RankAccuracy().score(saliency, region, KEYS.child(i)).value for i in range(200)]
    share = region.float().mean().item()
    assert abs(np.mean(values) - share) < 3 * np.std(values, ddof=1) / np.sqrt(len(values))


@settings(deadline=None)
@given(maps, regions)
def test_rank_accuracy_and_iou_equal_their_slow_twins(saliency, region):
    rank = rank_pixels(saliency.clip(min=0).astype(np.float64), KEYS).numpy()
    top = {place for place in np.ndindex(5, 6) if rank[place] < region.sum()}
    truth = {place for place in np.ndindex(5, 6) if region[place]}
    found = scores(torch.from_numpy(saliency), torch.from_numpy(region))
    assert found[0].value == pytest.approx(len(top & truth) / len(truth))
    assert found[1].value == pytest.approx(len(top & truth) / len(top | truth))


@settings(deadline=None)
@given(maps, regions.filter(lambda region: not region.all()))
def test_auroc_equals_the_count_over_all_pairs(saliency, region):
    positive = saliency.clip(min=0)
    wins = [
        (a > b) + 0.5 * (a == b) for a, b in itertools.product(positive[region], positive[~region])
    ]
    found = PixelAuroc().score(torch.from_numpy(saliency), torch.from_numpy(region))
    assert found.value == pytest.approx(np.mean(wins))


@settings(deadline=None)
@given(arrays(np.float64, (5, 6), elements=st.sampled_from([-1.0, -0.0, 0.0, 2.0])))
def test_ranks_are_a_permutation_in_decreasing_order(values):
    rank = rank_pixels(values, KEYS).numpy()
    assert sorted(rank.ravel()) == list(range(30))
    assert (np.diff(values.ravel()[np.argsort(rank.ravel())]) <= 0).all()


def test_the_order_of_ties_depends_on_the_keys_alone():
    values = np.zeros((5, 6))
    assert torch.equal(rank_pixels(values, KEYS), rank_pixels(values, KEYS))
    assert not torch.equal(rank_pixels(values, KEYS), rank_pixels(values, KEYS.child("other")))


def test_missing_values_state_their_reason():
    region = corner()
    assert scores(region.float(), torch.zeros_like(region)) == (Scored(None, "empty_mask"),) * 3
    assert scores(-region.float(), region) == (Scored(None, "zero_map"),) * 3
    assert scores(region.float() / 0, region) == (Scored(None, "nonfinite_map"),) * 3
    assert scores(torch.ones(24, 23), region) == (Scored(None, "size_mismatch"),) * 3
    whole = torch.ones_like(region)
    assert PixelAuroc().score(region.float(), whole) == Scored(None, "full_mask")


def test_level_iou_of_a_smooth_map_cuts_at_the_level():
    saliency = torch.linspace(-3.0, 7.0, 11).repeat(11, 1)  # 0, 0.1, ..., 1 when scaled
    region = torch.zeros(11, 11, dtype=torch.bool)
    region[:, 6:] = True
    assert LevelIou(level=0.5).score(saliency, region) == Scored(5 / 6)
    assert LevelIou(level=0.55).score(saliency, region) == Scored(1.0)


def test_level_iou_of_segments_keeps_the_largest_values_above_the_level():
    saliency = torch.tensor([0.0, 0.7, 0.75, 0.8, 0.85, 0.9, 1.0]).repeat(7, 1)
    region = torch.zeros(7, 7, dtype=torch.bool)
    region[:, 3:] = True
    assert LevelIou(maps="segments").score(saliency, region) == Scored(1.0)
    assert LevelIou(maps="segments", values=2).score(saliency, region) == Scored(0.5)
    assert LevelIou(maps="segments", level=0.95).score(saliency, region) == Scored(0.25)


def test_level_iou_says_why_it_has_no_value():
    assert LevelIou().score(torch.ones(24, 24), corner()) == Scored(None, "constant_map")
    assert LevelIou().score(torch.ones(24, 24), ~corner() & corner()) == Scored(None, "empty_mask")
