import numpy as np
import pytest
import torch
from PIL import Image

from xaiserve.errors import TooLargeError
from xaiserve.models.preparing import prepare
from xaiserve.models.spec import ModelSpec, Resize
from xaiserve.storage.pictures import Picture

COLOUR = ModelSpec(height=4, width=4, labels=("a", "b"))
GREY = ModelSpec(height=4, width=4, channels=1, mean=(0.0,), std=(1.0,), labels=("a", "b"))
CROPPED = ModelSpec(height=4, width=4, resize=Resize(mode="shorter", side_px=6), labels=("a", "b"))


def picture(image: Image.Image) -> Picture:
    return Picture(image=image, sha256="0" * 64, notes=())


def noise(mode: str, height: int, width: int) -> Image.Image:
    generator = np.random.Generator(np.random.Philox(key=1))
    channels = (3,) if mode == "RGB" else ()
    if mode == "F":
        return Image.fromarray(generator.random((height, width), dtype=np.float32))
    return Image.fromarray(
        generator.integers(0, 256, (height, width, *channels), dtype=np.uint8), mode=None
    )


def test_a_colour_picture_of_the_models_size_is_divided_by_255() -> None:
    image = noise("RGB", 4, 4)
    found, frame = prepare(picture(image), COLOUR)
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255
    assert torch.equal(found, expected)
    assert (frame.top, frame.left, frame.scale_x) == (0, 0, 1.0)


def test_grey_is_repeated_over_three_channels() -> None:
    found, _ = prepare(picture(noise("L", 9, 7)), COLOUR)
    assert found.shape == (3, 4, 4)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_colour_becomes_luminance_for_a_grey_model() -> None:
    found, _ = prepare(picture(Image.new("RGB", (4, 4), (255, 0, 0))), GREY)
    assert found.shape == (1, 4, 4)
    assert found.unique().tolist() == pytest.approx([76 / 255])


def test_float_grey_keeps_more_than_256_levels() -> None:
    ramp = np.linspace(0.4, 0.41, 16, dtype=np.float32).reshape(4, 4)
    for spec in (COLOUR, GREY):
        found, _ = prepare(picture(Image.fromarray(ramp)), spec)
        assert torch.equal(found[-1], torch.from_numpy(ramp))


def test_float_grey_is_clipped_where_a_filter_overshoots() -> None:
    step = np.zeros((8, 8), np.float32)
    step[:, 4:] = 1.0
    spec = ModelSpec(height=32, width=32, resize=Resize(resample="lanczos"), labels=("a", "b"))
    found, _ = prepare(picture(Image.fromarray(step)), spec)
    assert float(found.min()) == 0.0
    assert float(found.max()) == 1.0


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_eight_bits_are_scaled_as_eight_bits_like_pillow_does(mode: str) -> None:
    image = noise(mode, 12, 9)
    found, _ = prepare(picture(image), CROPPED)
    scaled = image.resize((6, 8), Image.Resampling.BILINEAR).crop((1, 2, 5, 6)).convert("RGB")
    assert torch.equal(found, torch.from_numpy(np.array(scaled)).permute(2, 0, 1) / 255)


def test_the_frame_finds_the_crop_in_the_original() -> None:
    _, frame = prepare(picture(noise("RGB", 12, 9)), CROPPED)
    assert (frame.original_height, frame.original_width) == (12, 9)
    assert (frame.scaled_height, frame.scaled_width, frame.top, frame.left) == (8, 6, 2, 1)


def test_a_single_pixel_fills_the_input() -> None:
    found, _ = prepare(picture(Image.new("L", (1, 1), 51)), COLOUR)
    assert torch.equal(found, torch.full((3, 4, 4), 0.2))


def test_a_strip_that_would_be_scaled_to_a_gigabyte_is_refused() -> None:
    spec = ModelSpec(
        height=224, width=224, resize=Resize(mode="shorter", side_px=256), labels=("a", "b")
    )
    with pytest.raises(TooLargeError, match="5000x1 px would be scaled to 1280000x256"):
        prepare(picture(Image.new("L", (5000, 1))), spec)
