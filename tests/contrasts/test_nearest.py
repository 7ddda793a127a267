from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xaiserve.api import load_case
from xaiserve.contrasts.nearest import NearestContrasts
from xaiserve.contrasts.pool import list_pool, prepare_pool
from xaiserve.errors import InvalidInputError, NoExplanationError
from xaiserve.testing.toys import brightness_classifier, toy_case, toy_image

MODEL = brightness_classifier(toy_image(), 0.4)
"""A sigmoid of 20 times what the mean is above 0.4."""


def write(path: Path, level: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((24, 24, 3), level, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path):
    for label, levels in {"Nothing": (10, 60, 90, 100, 200), "evidence": (140, 20, 220)}.items():
        for level in levels:
            write(tmp_path / label / f"{level}.png", level)
    return tmp_path


def nearest(pool, **options):
    listing = list_pool(str(pool), MODEL.spec)
    return NearestContrasts(listing=listing, spec=MODEL.spec, ask=MODEL.scores, **options)


def case_of(level):
    return toy_case(MODEL, torch.full((3, 24, 24), level / 255))


def test_a_positive_gets_the_nearest_other_picture_that_is_scored_low(folder):
    """100 and 90 lie nearer than 60, at scores of 0.46 and 0.28; 20 is of the target's class."""
    (made,) = nearest(folder).contrasts([case_of(200)])

    assert float(made.image.mean()) == pytest.approx(60 / 255)
    assert made.provider == "nearest"
    assert "60.png (nothing)" in made.notes[1]
    distance = (200 - 60) / 255 * np.sqrt(3 * 24 * 24)
    assert f"{distance:.2f}" in made.notes[1]


def test_a_negative_gets_the_nearest_picture_of_the_target_that_is_scored_high(folder):
    (made,) = nearest(folder).contrasts([case_of(50)])

    assert float(made.image.mean()) == pytest.approx(140 / 255)


def test_thresholds_are_options_and_change_the_digest(folder):
    loose = nearest(folder, low=0.4)

    assert float(loose.contrasts([case_of(200)])[0].image.mean()) == pytest.approx(90 / 255)
    assert loose.digest != nearest(folder).digest
    with pytest.raises(ValueError, match="low must be a number from 0 to 1"):
        nearest(folder, low=2.0)


def test_the_pool_is_scored_once(folder):
    provider = nearest(folder)
    before = MODEL.rows
    provider.contrasts([case_of(200), case_of(50)])
    provider.contrasts([case_of(210)])

    assert MODEL.rows - before == 8 + 3


def test_no_picture_that_fits_is_no_explanation(folder):
    (found,) = nearest(folder, low=0.0).contrasts([case_of(200)])

    assert isinstance(found, NoExplanationError)
    assert "with a score for it below 0" in str(found)


def test_an_image_is_never_its_own_contrast(folder):
    case = load_case(folder / "Nothing/60.png", MODEL, "evidence")
    listing = list_pool(str(folder), MODEL.spec)
    pool = prepare_pool(listing, MODEL.spec, MODEL.scores)

    assert case.image_id in pool.digests


def test_a_manifest_tells_classes_by_column(tmp_path):
    write(tmp_path / "a.png", 10)
    write(tmp_path / "b.png", 230)
    (tmp_path / "pool.csv").write_text("uri,label\na.png,NOTHING\nb.png,evidence\nb.png,cat\n")

    listing = list_pool(str(tmp_path / "pool.csv"), MODEL.spec)

    assert [index for _, index in listing.rows] == [0, 1]


def test_a_pool_without_classes_says_which_names_it_looks_for(tmp_path):
    write(tmp_path / "x" / "a.png", 10)

    with pytest.raises(InvalidInputError, match=r"folders' names.*nothing, evidence"):
        list_pool(str(tmp_path), MODEL.spec)


def test_pictures_that_cannot_be_read_are_left_out_and_named(folder):
    (folder / "evidence/damaged.png").write_bytes(b"no picture")
    pool = prepare_pool(list_pool(str(folder), MODEL.spec), MODEL.spec, MODEL.scores)

    assert len(pool.uris) == 8
    assert "damaged.png" in pool.skipped[0]


def test_a_pool_beyond_memory_is_refused_before_anything_is_read(folder, monkeypatch):
    monkeypatch.setattr("xaiserve.contrasts.pool.MAX_BYTES", 3 * 24 * 24 * 7)

    with pytest.raises(InvalidInputError, match=r"at most 7 pictures of 24x24 px.*got 8"):
        list_pool(str(folder), MODEL.spec)


def test_a_picture_that_changes_after_it_was_scored_is_refused(folder):
    provider = nearest(folder)
    provider.pool()
    write(folder / "Nothing/60.png", 61)

    assert "has changed" in str(provider.contrasts([case_of(200)])[0])


def test_distances_agree_with_numpy(folder):
    pool = nearest(folder).pool()
    image = toy_image().reshape(1, -1)
    rows = torch.tensor([0, 3, 5])

    slow = np.linalg.norm(pool.pixels[rows].numpy() / 255 - image.numpy(), axis=1)
    assert pool.distances(image, rows)[0].tolist() == pytest.approx(slow.tolist(), rel=1e-5)
