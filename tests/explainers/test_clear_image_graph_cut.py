import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage import segmentation

from xaiserve.explainers.clear_image.felzenszwalb import coarsened
from xaiserve.explainers.clear_image.gan_xray import _given_back
from xaiserve.explainers.clear_image.graph_cut import CHUNK, FEW, LEVELS, edges, fine_cut

SCALE = 25.0


def slow_cut(picture, scale):
    """Take the edges one by one, as algorithm 1 says; equal costs in the order of their list."""
    costs, ends = edges(picture)
    level = np.sqrt(picture.shape[2]) / LEVELS
    levels = np.rint(costs / level)
    part = np.arange(picture.shape[0] * picture.shape[1])
    dearest = np.zeros(len(part))
    for edge in np.argsort(levels, kind="stable"):
        one, other = part[ends[edge, 0]], part[ends[edge, 1]]
        cost = levels[edge] * level
        inside = [part == each for each in (one, other)]
        bounds = [
            dearest[each] + scale / 255 / within.sum()
            for each, within in zip((one, other), inside, strict=True)
        ]
        if one != other and cost < min(bounds):
            part[inside[1]] = one
            dearest[one] = cost
    return part.reshape(picture.shape[:2])


def same_parts(one, other):
    pairs = np.unique(np.stack([one.ravel(), np.asarray(other).ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(one)) == len(np.unique(other))


def ramps(side):
    """Return a picture whose edges cost the same in each direction."""
    rows, columns = np.indices((side, side))
    return ((2 * rows + 3 * columns) / 255)[..., None]


def noise(seed, side=24, channels=1, step=1):
    """Return a smooth picture of 8 bits, most of whose edges have equals."""
    found = ndimage.gaussian_filter(
        np.random.default_rng(seed).random((side, side, channels)), (1, 1, 0)
    )
    return np.round(found * 255 / step) * step / 255


PICTURES = [
    *(noise(seed) for seed in range(3)),
    noise(3, step=12),
    noise(4, channels=3),
    ramps(20),
    np.zeros((9, 7, 1)),
]


@pytest.mark.parametrize("few", [0, FEW])
@pytest.mark.parametrize("chunk", [50, CHUNK])
def test_many_edges_at_a_time_cut_as_one_by_one(chunk, few):
    for picture in PICTURES:
        numbers, between = fine_cut(picture, SCALE, chunk=chunk, few=few)
        assert same_parts(numbers, slow_cut(picture, SCALE))
        assert np.unique(numbers).tolist() == list(range(numbers.max() + 1))
        assert (between[:, 0] != between[:, 1]).all()


@given(seed=st.integers(0, 5000))
@settings(max_examples=20, deadline=None)
def test_the_cut_is_that_of_scikit_image_where_no_two_edges_cost_the_same(seed):
    picture = np.random.default_rng(seed).integers(0, LEVELS, (9, 8, 1)) / LEVELS
    assume(len(np.unique(np.rint(edges(picture)[0] * LEVELS))) == len(edges(picture)[0]))
    # No multiple of a level's: a cost that equals a part's bound would be rounding's to judge.
    for scale in (SCALE + 0.3, 500.3):
        theirs = segmentation.felzenszwalb(picture, scale=scale, sigma=0, min_size=1)
        assert same_parts(fine_cut(picture, scale)[0], theirs)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("channels", [1, 3])
def test_in_parity_the_two_passes_equal_scikit_image(seed, channels):
    picture = np.random.default_rng(seed).random((48, 40, channels))
    ours, min_area = coarsened(picture, 12, SCALE, 40, parity=True)
    theirs = segmentation.felzenszwalb(picture, scale=SCALE, sigma=0, min_size=min_area)
    assert len(np.unique(ours)) <= 12
    assert same_parts(ours, theirs)
    smaller = segmentation.felzenszwalb(picture, scale=SCALE, sigma=0, min_size=min_area - 25)
    assert min_area == 40 or len(np.unique(smaller)) > 12


@pytest.mark.parametrize("seed", range(4))
def test_every_part_of_a_coarse_cut_has_the_smallest_size(seed):
    ours, min_area = coarsened(noise(seed, 48), 5, SCALE, 40)
    areas = np.bincount(ours.ravel())
    assert len(areas) <= 5
    assert areas.min() >= min(min_area, ours.size)


@pytest.mark.parametrize("seed", range(4))
def test_pixels_are_given_back_as_a_filter_of_the_whole_picture_would(seed):
    draws = np.random.default_rng(seed)
    broad = ndimage.gaussian_filter(draws.random((40, 40)), 2) > 0.5
    kept, _ = ndimage.label(ndimage.binary_erosion(broad))
    kept = kept.astype(np.int64)
    eroded = broad & (kept == 0)
    expected, todo = kept.copy(), eroded.copy()
    todo[[0, -1]] = todo[:, [0, -1]] = False
    for _ in range(100):
        largest = ndimage.maximum_filter(expected, 3, mode="constant", cval=0)
        expected = np.where(todo & (expected == 0), largest, expected)
    assert (_given_back(kept, eroded) == expected).all()
