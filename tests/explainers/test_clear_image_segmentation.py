from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from xaiserve.errors import InvalidInputError, NoExplanationError
from xaiserve.explainers.clear_image.cut import components
from xaiserve.explainers.clear_image.gan_xray import _disks, _given_back, gan_xray
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.segmentation import can_retry, cut, difference_map, gan_diff
from xaiserve.perturb.case import Case, Contrast
from xaiserve.perturb.rng import Keys

KEYS = Keys.root(0, "segments")
SIDE = 128
DIFF = ClearOptions(segmenter="gan_diff")
XRAY = ClearOptions(segmenter="gan_xray")


def soft_noise(seed, sigma=3.0, side=SIDE):
    """Smooth noise with values in [0, 1]."""
    found = ndimage.gaussian_filter(np.random.default_rng(seed).random((side, side)), sigma)
    return (found - found.min()) / (found.max() - found.min())


def case_of(image, contrast):
    image, contrast = (torch.from_numpy(each).float().unsqueeze(0) for each in (image, contrast))
    return Case(
        image_id="case",
        image=image,
        target=1,
        neutral=torch.zeros(1, 1, 1),
        unit=torch.ones(1, 1, 1),
        contrast=Contrast(image=contrast, provider="ideal"),
    )


def found(image, contrast, options):
    case = case_of(image, contrast)
    return cut(case, case.contrast.image, options, KEYS)


def blob(shape, *boxes, value=0.5):
    """Draw bright boxes, given as top, left, bottom, right."""
    drawn = np.zeros(shape)
    for top, left, bottom, right in boxes:
        drawn[top:bottom, left:right] = value
    return drawn


@given(seed=st.integers(0, 5000))
@settings(max_examples=15, deadline=None)
def test_every_gan_diff_segment_is_connected_and_large_enough(seed):
    difference = np.abs(soft_noise(seed) - soft_noise(seed + 1))
    numbers = gan_diff(difference, 0.25, min_area_px=50).numbers
    for segment in range(1, numbers.max() + 1):
        assert ndimage.label(numbers == segment)[1] == 1
        assert (numbers == segment).sum() >= 50
    grown = ndimage.binary_dilation(difference > 0.25)
    assert not (numbers[~grown] > 0).any()


def test_gan_diff_cuts_both_pictures_as_their_negatives():
    image = blob((SIDE, SIDE), (10, 10, 30, 30), (60, 60, 90, 100))
    contrast = np.full_like(image, 0.1)
    one, other = found(image, contrast, DIFF), found(1 - image, 1 - contrast, DIFF)
    assert (one.numbers == other.numbers).all()
    assert one.count == 3


@pytest.mark.parametrize("mode", ["strict", "parity"])
@given(seed=st.integers(0, 5000))
@settings(max_examples=5, deadline=None)
def test_gan_xray_has_contiguous_numbers_and_at_most_as_many_as_it_may(mode, seed):
    difference = soft_noise(seed, 4.0) * soft_noise(seed + 1, 8.0)
    contrast = soft_noise(seed + 2, 2.0)
    options = replace(XRAY, mode=mode)
    made = gan_xray(difference, contrast, options, 0)
    assert np.unique(made.numbers).tolist() == list(range(made.count))
    assert made.kinds[0] == "background"
    strong = components(difference > made.how.high_threshold, 250).max()
    assert made.count - 1 <= 9 + 4 + strong
    assert made.kinds.count("high") <= strong
    # 0 is all that is outside the difference mask.
    assert not (made.numbers[difference <= 0.035] > 0).any()


@pytest.mark.parametrize("options", [DIFF, XRAY])
def test_equal_pictures_have_nothing_to_cut(options):
    image = soft_noise(1)
    kind = "no_segments" if options.segmenter == "gan_diff" else "blank_contrast"
    with pytest.raises(NoExplanationError, match=kind):
        found(image, image.copy(), options)


@pytest.mark.parametrize(
    ("options", "value", "said"),
    [
        (DIFF, 0.2, r"lower diff_threshold or diff_min_area_px \(no_segments\)"),
        (XRAY, 0.01, r"lower low_threshold \(blank_contrast\)"),
    ],
)
def test_a_difference_below_the_threshold_makes_no_segment(options, value, said):
    image = blob((SIDE, SIDE), (10, 10, 30, 30), value=value)
    with pytest.raises(NoExplanationError, match=said):
        found(image, np.zeros_like(image), options)


def test_parts_below_the_smallest_area_make_no_segment():
    image = blob((SIDE, SIDE), (10, 10, 14, 14), value=0.1)
    said = r"lower low_threshold or xray_min_area_px \(no_segments\)"
    with pytest.raises(NoExplanationError, match=said):
        found(image, np.zeros_like(image), XRAY)


def test_the_strong_threshold_falls_until_something_is_strong():
    image = blob((SIDE, SIDE), (10, 10, 40, 40), value=0.22)
    made = found(image, np.zeros_like(image), XRAY)
    assert made.how.high_threshold == 0.20
    assert made.kinds == ("background", "high")


def test_strong_parts_lie_over_weak_ones():
    weak = blob((SIDE, SIDE), (10, 10, 38, 38), value=0.08)
    strong = blob((SIDE, SIDE), (60, 60, 80, 80), value=0.5)
    made = found(weak + strong, np.zeros_like(weak), XRAY)
    assert sorted(made.kinds[1:]) == ["high", "low"]
    assert made.kinds[made.numbers[70, 70]] == "high"
    assert made.kinds[made.numbers[20, 20]] == "low"


def test_thin_bridges_are_broken_and_eroded_pixels_given_back():
    weak = blob((SIDE, SIDE), (10, 10, 38, 38), (10, 60, 38, 88), (22, 38, 24, 60), value=0.08)
    made = found(weak, np.zeros_like(weak), replace(XRAY, high_threshold=0.3))
    # Off the bridge, either part has all its pixels back.
    assert made.numbers[10:38, 10:36].min() > 0
    assert len(np.unique(made.numbers[10:38, 10:36])) == 1
    assert made.numbers[24, 20] != made.numbers[24, 80]


def test_a_blob_of_exactly_a_thousand_pixels_is_lost_in_parity_alone():
    weak = blob((SIDE, SIDE), (10, 10, 35, 50), (80, 80, 100, 100), value=0.08)
    contrast = np.zeros_like(weak)
    options = replace(XRAY, high_threshold=0.3)
    assert found(weak, contrast, options).count == 3
    assert found(weak, contrast, replace(options, mode="parity")).count == 2


def test_disks_are_whole_in_strict_and_lopsided_in_parity():
    assert [int(disk.sum()) for disk in _disks(parity=False)] == [13, 5]
    assert [int(disk.sum()) for disk in _disks(parity=True)][:3] == [15, 9, 9]


def test_given_back_pixels_take_the_largest_number_ring_by_ring():
    kept = np.zeros((9, 9), dtype=np.int64)
    kept[4, 2], kept[4, 6] = 1, 2
    eroded = np.zeros((9, 9), dtype=bool)
    eroded[4, 1:8] = True
    grown = _given_back(kept, eroded)
    assert grown[4].tolist() == [0, 1, 1, 1, 2, 2, 2, 2, 0]


def test_a_retry_lowers_the_numbers_of_parts_once():
    difference = soft_noise(3, 6.0) * 0.3
    first = gan_xray(difference, soft_noise(5), XRAY, 0)
    second = gan_xray(difference, soft_noise(5), XRAY, 1)
    assert (first.how.max_felzenszwalb, first.how.max_other) == (10, 4)
    assert (second.how.max_felzenszwalb, second.how.max_other) == (7, 2)
    assert can_retry(first)
    assert not can_retry(second)
    assert second.count <= first.count


@pytest.mark.parametrize("mode", ["strict", "parity"])
def test_superpixels_leave_the_background_empty_in_strict_alone(mode):
    image = soft_noise(7, 5.0, side=64)
    made = found(image, 1 - image, ClearOptions(segmenter="felzenszwalb", mode=mode))
    assert made.count <= 17
    assert (made.areas[0] == 0) == (mode == "strict")
    assert (made.areas[1:] > 0).all()


def test_colours_are_compared_in_grey_and_in_parity_by_the_first_channel():
    image, contrast = torch.zeros(3, 40, 40), torch.zeros(3, 40, 40)
    image[0], contrast[0] = 1.0, 0.5
    strict = difference_map(image, contrast, parity=False)
    parity = difference_map(image, contrast, parity=True)
    np.testing.assert_allclose(strict, 0.2125 / 2, atol=1e-6)
    np.testing.assert_allclose(parity, 1 - 0.2125 / 2, atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(SIDE, SIDE - 1, dtype=torch.int64), "image's size"),
        (torch.tensor([0, 2]).repeat(SIDE, SIDE // 2), "without gaps"),
        (torch.tensor([1, 2]).repeat(SIDE, SIDE // 2), "without gaps"),
        ((torch.arange(SIDE**2) % 65).view(SIDE, SIDE), "max_segments"),
        (torch.zeros(SIDE, SIDE), "integers, got torch.float32"),
        (None, "Case.labels"),
    ],
)
def test_a_supplied_map_that_is_none_is_refused(labels, message):
    case = case_of(soft_noise(1), soft_noise(2))
    # Past the shape check of its annotations, which are checked in tests alone.
    object.__setattr__(case, "labels", labels)
    with pytest.raises(InvalidInputError, match=message):
        cut(case, case.contrast.image, ClearOptions(segmenter="supplied"), KEYS)


def test_a_supplied_map_of_background_alone_has_no_segments():
    labels = torch.zeros(SIDE, SIDE, dtype=torch.int64)
    case = replace(case_of(soft_noise(1), soft_noise(2)), labels=labels)
    with pytest.raises(NoExplanationError, match="no_segments"):
        cut(case, case.contrast.image, ClearOptions(segmenter="supplied"), KEYS)
