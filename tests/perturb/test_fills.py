import numpy as np
import pytest
import torch
from scipy.ndimage import correlate, gaussian_filter

from xaiserve.perturb.fills import blurred, make_fill, segment_means
from xaiserve.perturb.segment import grid_labels
from xaiserve.testing.toys import constant_classifier, toy_case, toy_image, toy_spec

IMAGE = toy_image(20, 26)
CASE = toy_case(constant_classifier(IMAGE, spec=toy_spec(IMAGE, mean=0.4, std=0.2)), IMAGE)


def test_neutral_is_what_the_model_sees_as_zero():
    spec = toy_spec(IMAGE, mean=0.4, std=0.2)
    fill = make_fill("neutral", CASE)
    torch.testing.assert_close(spec.normalise(fill[None]), torch.zeros(1, 3, 20, 26))


def test_grey_is_the_intensity_asked_for():
    assert torch.equal(make_fill("grey", CASE, grey=0.3), torch.full((3, 20, 26), 0.3))


def test_mean_is_the_colour_of_the_image():
    fill = make_fill("mean", CASE)
    torch.testing.assert_close(fill[:, 7, 3], IMAGE.mean(dim=(1, 2)))
    assert bool((fill == fill[:, :1, :1]).all())


@pytest.mark.parametrize("kind", ["neutral", "grey", "mean", "blur"])
def test_a_fill_shares_no_memory_with_the_case(kind):
    before = IMAGE.clone()
    make_fill(kind, CASE).zero_()
    assert torch.equal(CASE.image, before)
    assert float(CASE.neutral[0]) == pytest.approx(0.4)


def test_blur_equals_a_correlation_with_the_published_kernel():
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    kernel = gaussian_filter(impulse, 5).astype(np.float32)
    expected = torch.stack(
        [torch.from_numpy(correlate(c.numpy(), kernel, mode="constant", cval=0.4)) for c in IMAGE]
    )
    torch.testing.assert_close(make_fill("blur", CASE), expected, atol=1e-5, rtol=0)


def test_blur_leaves_the_surrounding_colour_as_it_is():
    flat = torch.full((1, 9, 9), 0.7)
    torch.testing.assert_close(blurred(flat, around=torch.full((1, 1, 1), 0.7)), flat)


def test_segment_means_paint_each_segment_with_its_mean():
    labels = grid_labels(20, 26, 4)
    painted = segment_means(IMAGE, labels)
    for label in range(16):
        inside = labels == label
        expected = IMAGE[:, inside].mean(dim=1, keepdim=True).expand(-1, int(inside.sum()))
        torch.testing.assert_close(painted[:, inside], expected)
