"""Scores beyond what is held: exact means, and intervals of a sample against those of all."""

import math
import tracemalloc

import numpy as np
import pytest

from xaiserve.metrics.estimates import HitRate
from xaiserve.metrics.gathering import KEPT, Gathering
from xaiserve.metrics.sampling import Sample, short_key
from xaiserve.metrics.summary import ScoreRow, summarise
from xaiserve.metrics.tally import Tally, Trial
from xaiserve.perturb.rng import Keys

KEYS = Keys.root(0, "a job")
CLASSES = ("cat", "dog", "bird")


def trials(images):
    """Name images by their keys, so that a tally sorts them as a sample does."""
    values = KEYS.child("values").generator().random(images)
    named = [(f"image {i}", CLASSES[i % 7 % 3], value) for i, value in enumerate(values.tolist())]
    return named, Tally(tuple(Trial(f"{short_key(i):020}", c, value) for i, c, value in named))


def gathered(named, kept=KEPT):
    found = Gathering(1, kept)
    for image, group, value in named:
        found.add(image, group, [value], [])
    return found


def test_few_images_have_the_estimates_of_a_tally_to_the_last_bit():
    named, tally = trials(300)
    for order in (named, named[::-1]):
        found = gathered(order)
        assert found.micro(0, KEYS) == tally.micro(KEYS)
        assert found.macro(0, KEYS) == tally.macro(KEYS)


def test_the_mean_of_many_is_that_of_all_and_its_interval_nearly_so():
    named, tally = trials(4000)
    found = gathered(named, kept=1000)
    for mine, whole in (
        (found.micro(0, KEYS), tally.micro(KEYS)),
        (found.macro(0, KEYS), tally.macro(KEYS)),
    ):
        assert mine.value == pytest.approx(whole.value, abs=1e-12)
        width = whole.high - whole.low
        # Two independent sets of a thousand resamples differ by so much, too.
        assert (mine.low, mine.high) == pytest.approx((whole.low, whole.high), abs=0.12 * width)


def test_hits_are_counted_and_fractions_among_them_resampled():
    hits = [(str(i), "cat", float(i % 4 == 0)) for i in range(1000)]
    assert gathered(hits, kept=10).hit_rate(0, KEYS) == HitRate(250, 1000).estimate()
    odd = [*hits, ("odd", "cat", 0.5)]
    found = gathered(odd, kept=10)
    assert found.hit_rate(0, KEYS) == found.micro(0, KEYS)
    assert found.hit_rate(0, KEYS).value == 250.5 / 1001


def test_a_metric_that_hardly_any_image_has_keeps_its_mean():
    found = Gathering(2, kept=4)
    for i in range(200):
        found.add(str(i), "cat", [0.5, 0.25 if i == 0 else None], ["zero_map"] if i else [])
    assert found.micro(1, KEYS).value == found.macro(1, KEYS).value == 0.25
    assert (found.images, found.nulls) == (200, {"zero_map": 199})


def test_a_sample_is_of_the_least_keys_whatever_the_order():
    names = [f"image {i}" for i in range(500)]
    least = sorted(short_key(name) for name in names)[:40]
    order = KEYS.child("order").generator().permutation(500).tolist()
    for some in (names, [names[i] for i in order]):
        sample = Sample(1, kept=40)
        for name in some:
            sample.add(name, 0, [short_key(name) / 2**64])
        columns = sample.columns(0, np.zeros(1, np.int64), by_group=False)
        assert columns.values.tolist() == [key / 2**64 for key in least]


def test_no_more_is_held_however_many_come():
    sample = Sample(3, kept=100)
    most = 0
    for number in range(20_000):
        sample.add(str(number), 0, [0.5, None, 1.0])
        most = max(most, len(sample))
    assert most <= 125


def test_the_memory_of_a_table_does_not_grow_with_its_rows():
    def peak(images):
        rows = (
            ScoreRow(image_id=f"{i}", class_name="cat", method="rise", metric=metric, value=0.5)
            for i in range(images)
            for metric in ("pointing_game", "energy_pointing_game", "grid_pointing")
        )
        tracemalloc.start()
        summarise(rows, KEYS, kept=20)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(100)  # what is made once and kept
    assert peak(1000) < 1.1 * peak(200)


def test_a_value_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="value must be finite or missing, got inf"):
        Gathering(1).add("a", "cat", [math.inf], [])
