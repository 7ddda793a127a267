"""Every kind of picture file, sane and hostile."""

import hashlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, TiffImagePlugin

from xaiserve.errors import InvalidInputError, TooLargeError, UnsupportedMediaError
from xaiserve.storage.pictures import (
    FORMATS,
    Picture,
    PictureLimits,
    decode,
    decode_mask,
    encode_png,
)


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def ramp(dtype: type, *values: float) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=dtype))


def grey(picture: Picture) -> np.ndarray:
    assert picture.image.mode == "F"
    return np.asarray(picture.image)


RED = Image.new("RGB", (8, 6), (255, 0, 0))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_on_the_list_is_read(kind: str) -> None:
    picture = decode(saved(RED, kind))
    assert (picture.image.mode, picture.image.size) == ("RGB", (8, 6))
    assert np.allclose(np.asarray(picture.image)[0, 0], (255, 0, 0), atol=3)
    assert picture.notes == ()


def test_the_digest_is_that_of_the_bytes() -> None:
    data = saved(RED)
    assert decode(data).sha256 == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("data", [b"", b"hello", b"%PDF-1.7", saved(RED, "PPM"), saved(RED, "ICO")])
def test_other_bytes_are_refused_by_name_of_the_allowed_formats(data: bytes) -> None:
    with pytest.raises(UnsupportedMediaError, match="JPEG, PNG, GIF, BMP, TIFF, WEBP"):
        decode(data)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP"])
def test_a_truncated_file_is_refused(kind: str) -> None:
    noise = np.random.Generator(np.random.PCG64(0)).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind)
    with pytest.raises(InvalidInputError, match="damaged, truncated or"):
        decode(data[: len(data) // 2])


def test_a_file_over_the_byte_limit_is_refused() -> None:
    with pytest.raises(TooLargeError, match="at most 10 bytes, got"):
        decode(saved(RED), limits=PictureLimits(max_bytes=10))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no data: what a decompression bomb looks like."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 64)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


@pytest.mark.parametrize(
    ("width", "height", "message"),
    [
        (20_001, 1, "sides must be at most 20000 pixels, got 20001x1"),
        (1, 20_001, "sides must be at most 20000 pixels"),
        (10_000, 5_001, "at most 50000000 pixels, got 10000x5001 = 50010000"),
        (19_000, 19_000, "at most 50000000 pixels"),
        (2**31 - 1, 2**31 - 1, "sides must be at most"),
    ],
)
def test_a_decompression_bomb_is_refused_before_it_is_decoded(
    width: int, height: int, message: str
) -> None:
    # Decoding would say "truncated" instead, and Pillow's own limit would warn, which is an error.
    with pytest.raises(TooLargeError, match=message):
        decode(png_header(width, height))


def gif_header(width: int, height: int) -> bytes:
    image = saved(Image.new("P", (1, 1)), "GIF")
    return image[:6] + struct.pack("<HH", width, height) + image[10:]


def test_a_gif_that_claims_a_huge_canvas_is_refused() -> None:
    with pytest.raises(TooLargeError, match="at most"):
        decode(gif_header(15_000, 15_000))


def test_a_webp_that_claims_a_huge_canvas_is_refused() -> None:
    with pytest.raises(TooLargeError, match="at most"):
        decode(saved(Image.new("L", (16_000, 4_000)), "WEBP", quality=0, method=0))


def tiff(pixels: bytes, tags: dict[int, int]) -> bytes:
    """A TIFF of one channel written tag by tag, little endian, with one strip or tile."""
    tags = {256: 2, 257: 1, 259: 1, 262: 1, 277: 1, 279: len(pixels), 273: 8} | tags
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory


def test_a_tiff_with_huge_tiles_is_refused() -> None:
    data = tiff(b"\0" * 4, {258: 8, 322: 30_000, 323: 30_000, 324: 8, 325: 4})
    with pytest.raises(TooLargeError, match="sides must be at most 20000 pixels, got 30000x30000"):
        decode(data)


def test_raising_the_limits_lets_a_large_picture_pass_without_a_warning() -> None:
    large = saved(Image.new("1", (10_000, 9_000)))
    assert decode(large, limits=PictureLimits(max_pixels=10**8)).image.size == (10_000, 9_000)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_no_pixels_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(InvalidInputError):
        decode(png_header(*size))
    with pytest.raises(InvalidInputError, match="at least 1 pixel on each side, got 0x3"):
        PictureLimits().check_size(0, 3)


def test_one_pixel_is_a_picture() -> None:
    assert decode(saved(Image.new("L", (1, 1), 7))).image.getpixel((0, 0)) == 7


@pytest.mark.parametrize("name", ["max_bytes", "max_side", "max_pixels"])
def test_a_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        PictureLimits(**{name: 0})


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_taken_with_a_note(kind: str) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "lime")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    picture = decode(data)
    assert picture.image.convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    assert picture.notes == ("the file holds several frames; the first is used",)


def test_cmyk_becomes_rgb_with_a_note() -> None:
    picture = decode(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"))
    assert picture.image.getpixel((0, 0)) == (255, 0, 0)
    assert picture.notes == ("CMYK was converted to RGB without a colour profile",)


def test_an_undefined_colour_mode_is_refused() -> None:
    with pytest.raises(UnsupportedMediaError, match="got LAB"):
        decode(saved(Image.new("LAB", (4, 4)), "TIFF"))


def half_clear(mode: str) -> Image.Image:
    return Image.merge("LA", (Image.new("L", (4, 4), 0), Image.new("L", (4, 4), 128))).convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_the_stated_background(mode: str) -> None:
    picture = decode(saved(half_clear(mode)), background=(200, 100, 0))
    assert np.allclose(picture.image.getpixel((0, 0)), (100, 50, 0), atol=1)
    assert picture.notes == ("transparent pixels were composited on (200, 100, 0)",)


def test_grey_with_alpha_stays_grey_on_white() -> None:
    picture = decode(saved(half_clear("LA")))
    assert picture.image.mode == "L"
    assert picture.image.getpixel((0, 0)) == 127


def test_alpha_that_hides_nothing_leaves_no_note() -> None:
    assert decode(saved(RED.convert("RGBA"))).notes == ()


def test_a_transparent_palette_entry_is_composited() -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 255, 0, 0])
    picture = decode(saved(image, transparency=1), background=(0, 0, 255))
    assert picture.image.getpixel((0, 0)) == (0, 0, 255)


def test_a_palette_becomes_rgb() -> None:
    picture = decode(saved(RED.quantize(4)))
    assert (picture.image.mode, picture.image.getpixel((0, 0))) == ("RGB", (255, 0, 0))


def test_one_bit_becomes_black_and_white_grey() -> None:
    picture = decode(saved(Image.fromarray(np.array([[True, False]]))))
    assert np.asarray(picture.image).tolist() == [[255, 0]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    # Known by construction: EXIF says where row 0 and column 0 of the stored picture are.
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    picture = decode(data)
    assert np.array_equal(np.asarray(picture.image), upright)
    assert picture.notes == (() if orientation == 1 else ("the EXIF orientation was applied",))
    assert torch.equal(decode_mask(data), torch.from_numpy(upright > 0))


def test_sixteen_bit_grey_is_scaled_by_its_type() -> None:
    picture = decode(saved(ramp(np.uint16, 0, 13_107, 65_535)))
    assert np.allclose(grey(picture), [[0, 0.2, 1]])
    assert picture.notes == ("grey values 0 to 65535 were scaled to 0 to 1",)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_stated_range_clips_and_counts(kind: str) -> None:
    picture = decode(
        saved(ramp(np.uint16, 0, 1000, 2000, 4000), kind), value_range=(1000.0, 3000.0)
    )
    assert np.allclose(grey(picture), [[0, 0, 0.5, 1]])
    assert picture.notes == (
        "grey values 1000 to 3000 were scaled to 0 to 1",
        "2 pixels outside 1000 to 3000 were clipped",
    )


def test_signed_integers_keep_their_sign() -> None:
    picture = decode(saved(ramp(np.int32, -(2**31), 0, 2**31 - 1), "TIFF"))
    assert np.allclose(grey(picture), [[0, 0.5, 1]])
    hounsfield = decode(
        saved(ramp(np.int32, -1000, 0, 1000), "TIFF"), value_range=(-1000.0, 1000.0)
    )
    assert np.allclose(grey(hounsfield), [[0, 0.5, 1]])


def test_unsigned_32_bit_integers_are_not_read_as_negative() -> None:
    data = tiff(struct.pack("<II", 0, 2**32 - 1), {258: 32})
    assert np.allclose(grey(decode(data)), [[0, 1]])


def test_twelve_bit_grey_is_scaled_by_its_own_range() -> None:
    data = tiff(b"\x00\x0f\xff", {258: 12})  # two pixels in three bytes: 0 and 4095
    assert grey(decode(data)).tolist() == [[0, 1]]


def test_float_grey_is_taken_as_0_to_1() -> None:
    picture = decode(saved(ramp(np.float32, 0, 0.25, 1.5, -7), "TIFF"))
    assert np.allclose(grey(picture), [[0, 0.25, 1, 0]])
    assert picture.notes[1] == "2 pixels outside 0 to 1 were clipped"


def test_white_is_zero_is_inverted_in_deep_grey_too() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0
    picture = decode(saved(ramp(np.uint16, 0, 65_535), "TIFF", tiffinfo=tags))
    assert grey(picture).tolist() == [[1, 0]]
    assert picture.notes[-1] == "the file's white is 0; grey values were inverted"


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_no_finite_number_is_refused(wrong: float) -> None:
    with pytest.raises(InvalidInputError, match=r"got NaN or infinity \(1 of 2 pixels\)"):
        decode(saved(ramp(np.float32, 0, wrong), "TIFF"))


@pytest.mark.parametrize(
    "value_range", [(1.0, 1.0), (2.0, 1.0), (0.0, float("inf")), (float("nan"), 1.0)]
)
def test_an_empty_range_is_refused(value_range: tuple[float, float]) -> None:
    with pytest.raises(InvalidInputError, match="value_range must be two finite numbers"):
        decode(saved(ramp(np.uint16, 0, 1)), value_range=value_range)


def test_a_range_for_an_8_bit_picture_is_noted_as_not_applied() -> None:
    picture = decode(saved(RED), value_range=(0.0, 1000.0))
    assert picture.notes == ("value_range is for 16-bit and float grey and was not applied",)


def test_damaged_exif_turns_nothing_and_says_so() -> None:
    picture = decode(saved(RED, "PNG", exif=b"XXXXXXXX"))
    assert picture.notes == ("the EXIF metadata is damaged; no orientation was applied",)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*:PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_flipped_bytes_give_a_picture_or_a_refusal(kind: str, data: st.DataObject) -> None:
    whole = bytearray(saved(Image.new("RGB", (20, 20), (10, 200, 30)), kind))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = decode(bytes(whole), limits=PictureLimits(max_pixels=10**6))
    except InvalidInputError:
        return
    assert picture.image.mode in {"RGB", "L", "F"}


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3), (3, 5, 4)])
def test_png_keeps_an_array(shape: tuple[int, ...]) -> None:
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(encode_png(values)))), values)


def test_png_of_booleans_is_black_and_white() -> None:
    values = np.array([[True, False]])
    assert np.asarray(Image.open(io.BytesIO(encode_png(values)))).tolist() == [[255, 0]]


def test_png_of_a_picture_is_read_back() -> None:
    assert decode(encode_png(RED)).image.getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    "image",
    [
        ramp(np.uint8, 0, 1, 7),
        ramp(np.uint16, 0, 1, 7),
        ramp(np.uint8, 0, 1, 7).convert("RGB"),
        ramp(np.uint8, 0, 1, 7).convert("RGBA"),
        ramp(np.uint8, 0, 1, 7).convert("LA"),
    ],
    ids=lambda image: image.mode,
)
def test_a_mask_is_inside_where_it_is_not_zero(image: Image.Image) -> None:
    assert decode_mask(saved(image)).tolist() == [[False, True, True]]


def test_one_instance_of_a_mask_is_chosen_by_its_value() -> None:
    data = saved(ramp(np.uint8, 0, 1, 7))
    assert decode_mask(data, instance=7).tolist() == [[False, False, True]]


def test_a_palette_mask_is_read_by_its_indices() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([9, 9, 9, 0, 0, 0])
    image.putpixel((1, 0), 1)
    assert decode_mask(saved(image)).tolist() == [[False, True]]


def test_an_instance_of_a_colour_mask_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="mask of one channel, got mode RGB"):
        decode_mask(saved(RED), instance=1)


def test_real_pictures_and_masks_are_read(data: Path) -> None:
    image = (data / "coco_masks" / "images").iterdir().__next__()
    mask = data / "coco_masks" / "masks" / f"{image.stem}.png"
    width, height = decode(image.read_bytes()).image.size
    assert decode_mask(mask.read_bytes()).shape == (height, width)


def test_an_empty_range_is_refused_for_8_bit_pictures_too() -> None:
    data = encode_png(np.zeros((2, 2), np.uint8))
    with pytest.raises(InvalidInputError, match="value_range must be two finite numbers"):
        decode(data, value_range=(5.0, 1.0))
