"""Planted lesions: the number of explanations and the truth, known by construction."""

import numpy as np
import pytest
from scipy.ndimage import label as components
from scipy.stats import binomtest

from xaiserve.data.planted import RADIUS_PX, Place, lesion, planted_sample, planted_samples


def test_half_of_the_pictures_are_diseased_with_one_to_three_lesions():
    found = [sample.explanations for sample in planted_samples(seed=1, count=150)]
    assert set(found) == {None, 1, 2, 3}
    assert binomtest(sum(count is not None for count in found), 150, 0.5).pvalue > 0.001


def test_lesions_can_be_asked_for_by_number():
    counts = [s.explanations for s in planted_samples(seed=1, count=6, diseased_only=True)]
    assert counts == [1, 2, 3, 1, 2, 3]
    with pytest.raises(ValueError, match="lesions must be from 0 to 3, got 4"):
        planted_sample(0, 0, lesions=4)


def test_a_picture_depends_on_seed_and_index_alone():
    in_order = list(planted_samples(seed=4, count=5))[4]
    assert np.array_equal(in_order.image, planted_sample(4, 4).image)
    assert not np.array_equal(in_order.image, planted_sample(5, 4).image)


def test_the_picture_differs_from_the_ideal_one_exactly_in_its_lesions():
    for index in range(20):
        sample = planted_sample(7, index)
        assert np.array_equal(sample.image != sample.ideal, sample.truth)
        assert sample.label == ("diseased" if sample.features else "healthy")


def test_lesions_and_distractors_lie_apart_and_inside():
    for index in range(20):
        sample = planted_sample(8, index, lesions=3)
        masks = [feature.mask for feature in sample.features]
        assert sum(mask.sum() for mask in masks) == sample.truth.sum()
        white = sample.image >= 225
        # Every white shape is one piece: nothing touches a lesion.
        numbers, _ = components(white, structure=np.ones((3, 3)))
        for mask in masks:
            pieces = set(np.unique(numbers[mask]).tolist())
            assert len(pieces) == 1
            assert (numbers == pieces.pop()).sum() == mask.sum()


def test_backgrounds_keep_away_from_the_white_of_the_shapes():
    for index in range(10):
        ideal = planted_sample(9, index).ideal
        background = ideal[ideal < 225]
        assert background.max() < 215
        assert 115 < background.mean() < 140


@pytest.mark.parametrize("half_px", [8, 9, 10])
def test_a_lesion_is_a_triangle_on_a_square_within_its_circle(half_px):
    roof, base = lesion(Place(112, 112, half_px))
    assert base.sum() == (2 * half_px + 1) ** 2
    assert not (roof & base).any()
    rows, columns = np.nonzero(roof | base)
    assert np.hypot(rows - 112, columns - 112).max() < RADIUS_PX
    assert roof[:113].sum() == roof.sum()
    assert roof[112, 112]
    assert base[113, 112]
