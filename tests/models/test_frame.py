import torch

from xaiserve.models.frame import Frame
from xaiserve.models.spec import ModelSpec, Resize


def shorter(side_px: int, size: int) -> ModelSpec:
    return ModelSpec(
        height=size, width=size, resize=Resize(mode="shorter", side_px=side_px), labels=("a", "b")
    )


EXACT = ModelSpec(height=10, width=20, labels=("a", "b"))


def test_the_shorter_side_is_scaled_and_the_centre_is_cropped() -> None:
    frame = Frame.fit(shorter(8, 6), 16, 33)
    # 33 * 8 / 16 = 16.5, truncated as the published preprocessing does.
    assert (frame.scaled_height, frame.scaled_width) == (8, 16)
    assert (frame.top, frame.left, frame.height, frame.width) == (1, 5, 6, 6)


def test_exact_scales_both_sides() -> None:
    frame = Frame.fit(EXACT, 40, 40)
    assert (frame.scale_x, frame.scale_y, frame.top, frame.left) == (0.5, 0.25, 0, 0)


def test_a_box_goes_through_the_same_transform_and_is_clipped() -> None:
    frame = Frame.fit(shorter(8, 6), 16, 32)
    assert frame.box((12.0, 4.0, 20.0, 32.0)) == (1.0, 1.0, 5.0, 6.0)


def test_a_box_that_the_crop_removed_is_empty() -> None:
    x0, _, x1, _ = Frame.fit(shorter(8, 6), 16, 32).box((0.0, 0.0, 4.0, 4.0))
    assert x1 <= x0


def test_a_region_goes_through_the_same_transform() -> None:
    mask = torch.zeros(16, 32, dtype=torch.bool)
    mask[4:8, 12:16] = True
    expected = torch.zeros(6, 6, dtype=torch.bool)
    expected[1:3, 1:3] = True
    assert torch.equal(Frame.fit(shorter(8, 6), 16, 32).region(mask), expected)


def test_a_mask_returns_to_the_original_pixels_where_the_crop_kept_them() -> None:
    frame = Frame.fit(shorter(8, 6), 16, 32)
    back = frame.mask_to_original(torch.ones(6, 6, dtype=torch.bool))
    expected = torch.zeros(16, 32, dtype=torch.bool)
    expected[2:14, 10:22] = True
    assert torch.equal(back, expected)


def test_a_map_returns_with_its_values_and_zero_outside_the_crop() -> None:
    frame = Frame.fit(shorter(8, 6), 16, 32)
    back = frame.to_original(torch.full((6, 6), 0.5))
    assert back.shape == (16, 32)
    assert float(back[8, 16]) == 0.5
    assert float(back[8, 0]) == 0.0
