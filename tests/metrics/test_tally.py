"""Tallies: laws of merging, intervals of known size, slow twins of the bootstrap."""

import math
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from xaiserve.metrics.estimates import Estimate, HitRate
from xaiserve.metrics.tally import Tally, Trial, differences
from xaiserve.perturb.rng import Keys

KEYS = Keys.root(0, "a job")

scored = st.builds(
    Trial,
    st.sampled_from(["a", "b", "c", "d"]),
    st.sampled_from(["cat", "dog"]),
    st.floats(0, 1),
)
missing = st.builds(
    Trial,
    st.sampled_from(["a", "b", "e"]),
    st.sampled_from(["cat", "dog"]),
    st.none(),
    st.sampled_from(["empty_mask", "zero_map"]),
)
shards = st.lists(scored | missing, max_size=5)
rates = st.tuples(st.integers(0, 50), st.integers(0, 50)).map(
    lambda pair: HitRate(min(pair), max(pair))
)


def tally(*values, group="cat"):
    return Tally(tuple(Trial(f"image {i}", group, value) for i, value in enumerate(values)))


@settings(deadline=None)
@given(shards, shards, shards)
def test_tallies_merge_in_any_order_and_grouping(first, second, third):
    a, b, c = (Tally(tuple(trials)) for trials in (first, second, third))
    assert (a + b) + c == a + (b + c)
    assert len({one + two + three for one, two, three in permutations((a, b, c))}) == 1
    assert a + Tally() == a


@settings(deadline=None)
@given(rates, rates, rates)
def test_hit_rates_merge_in_any_order_and_grouping(a, b, c):
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + HitRate() == a


def test_estimates_do_not_depend_on_the_order_of_merging():
    a, b = tally(0.1, 0.2, 1.0), tally(0.7, 0.0, group="dog")
    one, other = a + b, b + a
    assert one.micro(KEYS) == other.micro(KEYS)
    assert one.macro(KEYS) == other.macro(KEYS)
    assert one.hit_rate(KEYS) == other.hit_rate(KEYS)


@settings(deadline=None)
@given(rates.filter(lambda rate: rate.trials > 0))
def test_a_hit_rate_has_wilsons_interval(rate):
    expected = binomtest(rate.hits, rate.trials).proportion_ci(method="wilson")
    found = rate.estimate()
    assert found.value == rate.hits / rate.trials
    assert found.low == pytest.approx(expected.low, abs=1e-9)
    assert found.high == pytest.approx(expected.high, abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_nothing_scored_has_no_estimate():
    empty = Tally((Trial("a", "cat", None, "empty_mask"),))
    assert HitRate().estimate() is None
    assert empty.hit_rate(KEYS) is empty.micro(KEYS) is empty.macro(KEYS) is None


def test_missing_values_are_counted_by_reason_and_left_out():
    trials = (
        Trial("a", "cat", None, "empty_mask"),
        Trial("b", "cat", None, "zero_map"),
        Trial("c", "dog", None, "zero_map"),
    )
    found = tally(0.25, 0.75) + Tally(trials)
    assert found.nulls == {"empty_mask": 1, "zero_map": 2}
    assert found.images == 5
    assert found.micro(KEYS).value == 0.5


def test_plain_hits_have_wilsons_interval_and_fractions_the_bootstraps():
    hits = tally(1.0, 0.0, 1.0, 1.0)
    assert hits.hit_rate(KEYS) == HitRate(3, 4).estimate()
    fractions = tally(1.0, 0.0, 0.5, 1.0)
    assert fractions.hit_rate(KEYS) == fractions.micro(KEYS)


def test_macro_gives_every_class_the_same_weight():
    found = tally(1.0, 1.0, 1.0, group="cat") + tally(0.0, group="dog")
    assert found.micro(KEYS).value == 0.75
    assert found.macro(KEYS).value == 0.5


def test_a_class_without_a_scored_image_is_left_out_of_macro():
    nothing = Tally((Trial("x", "bird", None, "empty_mask"),))
    assert (tally(0.25, 0.75) + nothing).macro(KEYS).value == 0.5


def test_one_image_has_no_interval():
    assert tally(0.5).micro(KEYS) == Estimate(0.5)


def test_equal_values_have_an_interval_without_width():
    assert tally(0.5, 0.5, 0.5).micro(KEYS) == Estimate(0.5, 0.5, 0.5)


@pytest.mark.parametrize("images", [400, 2500])
def test_the_bootstrap_interval_of_a_mean_is_nearly_the_normal_one(images):
    """The larger tally is resampled in several pieces."""
    values = KEYS.child("values").generator().random(images)
    found = tally(*values.tolist()).micro(KEYS)
    half = 1.96 * values.std() / math.sqrt(images)
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_trials_of_one_image_are_resampled_together():
    """Ten copies of each trial must not make the interval narrower."""
    single = tally(*KEYS.child("few").generator().random(20).tolist())
    copies = Tally(tuple(trial for trial in single.trials for _ in range(10)))
    one, ten = single.micro(KEYS), copies.micro(KEYS)
    assert (ten.low, ten.high) == pytest.approx((one.low, one.high))


def test_macro_equals_the_slow_twin():
    cats, dogs = [0.1, 0.9, 0.4], [0.2, 0.6]
    trials = [Trial(f"cat {i}", "cat", value) for i, value in enumerate(cats)]
    trials += [Trial(f"dog {i}", "dog", value) for i, value in enumerate(dogs)]
    generator = KEYS.child("bootstrap").generator()
    means = []
    for _ in range(1000):
        drawn = [trials[i] for i in generator.integers(5, size=5)]
        groups = [[t.value for t in drawn if t.group == name] for name in ("cat", "dog")]
        means.append(np.mean([np.mean(group) for group in groups if group]))
    found = Tally(tuple(trials)).macro(KEYS)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))


def test_equal_keys_give_equal_intervals():
    found = tally(0.1, 0.5, 0.2, 0.8, 0.9)
    assert found.micro(KEYS) == found.micro(KEYS)
    assert found.micro(KEYS) != found.micro(KEYS.child("other"))


def test_paired_differences_cancel_what_images_share():
    difficulty = KEYS.child("difficulty").generator().random(50)
    one, other = tally(*(difficulty + 0.01).tolist()), tally(*difficulty.tolist())
    found = differences(one, other).micro(KEYS)
    assert (found.value, found.low, found.high) == pytest.approx((0.01, 0.01, 0.01))


def test_a_trial_scored_on_one_side_only_is_unpaired():
    one = tally(0.5, 0.5, 1.0)
    other = tally(0.25) + Tally((Trial("image 1", "cat", None, "zero_map"),))
    found = differences(one, other)
    assert found.nulls == {"unpaired": 2}
    assert found.micro(KEYS) == Estimate(0.25)


def test_trials_that_cannot_be_told_apart_are_not_paired():
    twice = tally(0.5) + tally(0.25)
    with pytest.raises(ValueError, match=r"distinct images and classes.*2 trials of 1"):
        differences(twice, tally(0.5))


def test_a_value_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="value must be finite or missing, got nan"):
        Trial("a", "cat", math.nan)
