import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.errors import InvalidInputError
from xaiserve.perturb.rng import Keys
from xaiserve.perturb.segment import consecutive, grid_labels, segment_count, superpixels
from xaiserve.testing.toys import toy_image

KEYS = Keys.root(0, "")
METHODS = ["slic", "quickshift", "felzenszwalb", "grid"]
BRIGHT = (10, 34, 6, 30)


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 40), width=st.integers(1, 40), data=st.data())
def test_a_grid_uses_every_label_in_rectangles_of_nearly_equal_sides(height, width, data):
    cells = data.draw(st.integers(1, min(height, width)))
    labels = grid_labels(height, width, cells)
    assert labels.unique().tolist() == list(range(cells**2))
    for label in range(cells**2):
        rows, columns = (labels == label).nonzero(as_tuple=True)
        tall, wide = (int(x.max() - x.min()) + 1 for x in (rows, columns))
        assert len(rows) == tall * wide
        assert tall in {height // cells, -(-height // cells)}
        assert wide in {width // cells, -(-width // cells)}


def test_a_grid_counts_along_rows():
    assert grid_labels(2, 4, 2).tolist() == [[0, 0, 1, 1], [2, 2, 3, 3]]


@pytest.mark.parametrize("cells", [0, 6])
def test_a_grid_refuses_more_cells_than_pixels(cells):
    with pytest.raises(InvalidInputError, match=rf"cells must be from 1 to .*\(5\), got {cells}"):
        grid_labels(5, 9, cells)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_superpixels_are_numbered_from_zero_without_gaps(method, channels):
    image = toy_image(48, 40, channels=channels, light=BRIGHT)
    labels = superpixels(image, method, segments=16, keys=KEYS)
    assert labels.shape == (48, 40)
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == list(range(segment_count(labels)))


@pytest.mark.parametrize("method", METHODS)
def test_superpixels_are_the_same_for_the_same_key(method):
    image = toy_image(48)
    one, other = (superpixels(image, method, segments=16, keys=KEYS) for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("size", [(2, 2), (1, 7)])
def test_superpixels_of_a_tiny_picture_cover_it(method, size):
    labels = superpixels(toy_image(*size), method, segments=50, keys=KEYS)
    assert labels.shape == size


@pytest.mark.parametrize("method", ["slic", "felzenszwalb"])
def test_superpixels_follow_a_strong_edge(method):
    image = torch.full((3, 60, 60), 0.1)
    image[:, 10:50, 20:55] = 0.9
    labels = superpixels(image, method, segments=36, keys=KEYS)
    bright = image[0] > 0.5
    astray = 0
    for label in labels.unique():
        inside = int(bright[labels == label].sum())
        astray += min(inside, int((labels == label).sum()) - inside)
    assert astray / labels.numel() < 0.05


@pytest.mark.parametrize(("segments", "found"), [(1, 1), (9, 9), (50, 49), (10_000, 576)])
def test_a_grid_of_superpixels_has_about_as_many_as_asked(segments, found):
    labels = superpixels(toy_image(24), "grid", segments=segments, keys=KEYS)
    assert segment_count(labels) == found


def test_consecutive_keeps_the_order_of_the_values():
    assert consecutive(np.array([[7, 3], [3, 90]])).tolist() == [[1, 0], [0, 2]]
