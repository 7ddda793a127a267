"""What counts as a visible lesion, and how parts of a picture are hidden."""

import numpy as np
import pytest

from xaiserve.data.occlusion import lesion_visible, random_shown
from xaiserve.data.planted import planted_sample

TWO = planted_sample(0, 0, lesions=2)
NOTHING = np.zeros((224, 224), dtype=np.float32)


def showing(*masks):
    return np.logical_or.reduce([NOTHING > 0, *masks]).astype(np.float32)


def test_a_lesion_alone_is_visible_and_without_its_square_or_triangle_is_not():
    first, second = TWO.features
    assert lesion_visible(TWO, showing(first.mask)) is True
    assert lesion_visible(TWO, showing(first.parts[0])) is False
    assert lesion_visible(TWO, showing(first.parts[1])) is False
    assert lesion_visible(TWO, showing(first.parts[0], second.parts[1])) is False
    assert lesion_visible(TWO, NOTHING) is False


@pytest.mark.parametrize(("share", "answer"), [(0.4, False), (0.7, None), (0.9, True)])
def test_a_blend_counts_by_its_weight(share, answer):
    assert lesion_visible(TWO, NOTHING + np.float32(share)) is answer


def test_a_whole_lesion_settles_what_another_leaves_open():
    first, second = TWO.features
    shown = np.maximum(showing(first.mask), 0.7 * showing(second.mask))
    assert lesion_visible(TWO, shown.astype(np.float32)) is True


def test_the_rest_of_a_picture_never_shows_a_lesion():
    assert lesion_visible(TWO, 1 - showing(TWO.truth)) is False


def test_random_hiding_is_repeatable_within_range_and_varied():
    draws = [random_shown(np.random.default_rng(seed), [(50.0, 60.0)]) for seed in range(60)]
    again = [random_shown(np.random.default_rng(seed), [(50.0, 60.0)]) for seed in range(60)]
    shares = [shown.mean() for shown in draws]
    assert all(np.array_equal(a, b) for a, b in zip(draws, again, strict=True))
    assert all(0 <= shown.min() <= shown.max() <= 1 for shown in draws)
    assert min(shares) < 0.05
    assert max(shares) > 0.95
    assert np.std(shares) > 0.2
