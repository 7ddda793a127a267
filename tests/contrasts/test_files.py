import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from xaiserve.api import load_case
from xaiserve.contrasts.files import FileContrasts, read_contrast
from xaiserve.contrasts.partners import find_partners
from xaiserve.errors import InvalidInputError, UnsupportedMediaError
from xaiserve.storage.pictures import encode_png
from xaiserve.testing.toys import brightness_classifier, toy_image

MODEL = brightness_classifier(toy_image(), 0.4)


def write(path, level, size=(48, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), level, np.uint8)).save(path)
    return path


@pytest.fixture
def case(tmp_path):
    return load_case(write(tmp_path / "photos/x.png", 200), MODEL)


def made(source, case, images=3):
    partners = find_partners(str(source), "contrast", images=images)
    (found,) = FileContrasts(spec=MODEL.spec, partners=partners).contrasts([case])
    return found


def level(contrast):
    return round(float(contrast.image.mean()) * 255)


@pytest.mark.parametrize("partner", ["x.png", "x.jpg", "deep/er/x.png"])
def test_a_folder_holds_the_partner_by_name_whatever_its_ending(tmp_path, case, partner):
    write(tmp_path / "pairs" / partner, 40)
    write(tmp_path / "pairs/y.png", 90)

    assert level(made(tmp_path / "pairs", case)) == 40


def test_an_image_that_is_named_with_its_folder_takes_only_the_partner_of_that_folder(
    tmp_path, case
):
    for folder, grey in (("a", 40), ("b", 60)):
        write(tmp_path / "pairs" / folder / "x.png", grey)
    of_b = dataclasses.replace(case, name="b/x.png")

    assert level(made(tmp_path / "pairs", of_b)) == 60
    assert "has 2 partners" in str(made(tmp_path / "pairs", case))


def test_a_manifest_holds_it_by_id_or_by_the_pictures_name(tmp_path, case):
    write(tmp_path / "c.png", 40)
    manifest = tmp_path / "pairs.csv"
    manifest.write_text("id,uri,contrast\n7,photos/x.png,c.png\n")
    assert level(made(manifest, case)) == 40
    assert level(made(manifest, dataclasses.replace(case, name="7"))) == 40

    manifest.write_text("id,uri\nx,c.png\n")
    assert level(made(manifest, case)) == 40


def test_one_picture_is_for_one_image(tmp_path, case):
    pair = write(tmp_path / "healthy.png", 40)

    assert level(made(pair, case, images=1)) == 40
    with pytest.raises(InvalidInputError, match="one picture, for one image, and there are 3"):
        made(pair, case, images=3)
    with pytest.raises(InvalidInputError, match="there are many"):
        made(pair, case, images=None)


def test_a_missing_partner_is_told_with_the_images_name(tmp_path, case):
    write(tmp_path / "pairs/y.png", 40)

    assert str(made(tmp_path / "pairs", case)).startswith("image x.png has no partner named 'x' in")


def test_a_picture_of_the_originals_size_is_prepared_like_it_and_one_of_the_models_is_kept(case):
    values = np.random.Generator(np.random.Philox(key=1)).integers(0, 255, (24, 24, 3), np.uint8)
    kept = read_contrast(encode_png(values), case, MODEL.spec)
    large = read_contrast(encode_png(values.repeat(2, 0).repeat(2, 1)), case, MODEL.spec)

    exact = torch.from_numpy(values).permute(2, 0, 1) / 255
    assert torch.equal(kept.image, exact)
    assert large.image.shape == exact.shape
    with pytest.raises(InvalidInputError, match="24x24 or 48x48 px, got 30x20"):
        read_contrast(encode_png(np.zeros((20, 30, 3), np.uint8)), case, MODEL.spec)


def test_bytes_that_are_no_picture_are_told_as_the_contrasts(case):
    with pytest.raises(UnsupportedMediaError, match=r"contrast picture c\.png: "):
        read_contrast(b"no picture", case, MODEL.spec, name="c.png")


def test_the_digest_of_a_pair_is_the_files(tmp_path, case):
    write(tmp_path / "pairs/x.png", 40)
    first = made(tmp_path / "pairs", case).digest
    write(tmp_path / "pairs/x.png", 41)

    assert made(tmp_path / "pairs", case).digest != first
