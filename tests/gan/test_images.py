"""Folders of pictures: what is read, what is left out, and what is refused."""

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from xaiserve.errors import ArtifactNotFoundError, InvalidInputError
from xaiserve.gan.images import read_folders
from xaiserve.perturb.rng import Keys
from xaiserve.testing.gans import LABELS, squares, tiny_pictures, write_squares


def test_folders_are_read_as_their_classes_and_scaled_by_each_pictures_range(tmp_path):
    pictures = read_folders(write_squares(tmp_path), 64, channels=1)
    assert pictures.labels == LABELS
    assert pictures.counts == (6, 6)
    assert pictures.inputs.shape == (12, 1, 64, 64)
    assert pictures.inputs.dtype == torch.float16
    assert torch.equal(pictures.inputs.amin((1, 2, 3)), torch.full((12,), -1.0).half())
    assert torch.equal(pictures.inputs.amax((1, 2, 3)), torch.ones(12).half())
    back = pictures.span.to_images(pictures.inputs.float())
    assert torch.allclose(back[6:], squares(6, lit=True), atol=0.003)


def test_unreadable_and_constant_pictures_are_named_skipped_and_counted(tmp_path):
    folders = write_squares(tmp_path)
    (tmp_path / "dark" / "bad.png").write_bytes(b"no picture")
    PillowImage.new("L", (64, 64), 7).save(tmp_path / "lit" / "flat.png")
    pictures = read_folders(folders, 64, channels=1)
    assert pictures.counts == (6, 6)
    assert len(pictures.skipped) == 2
    assert "bad.png: image must be one of" in pictures.skipped[0]
    assert "flat.png: image must not be constant" in pictures.skipped[1]


@pytest.mark.parametrize(
    ("keep", "message"),
    [(0, "must name a folder with pictures"), (1, "at least 2 readable pictures, got 1")],
)
def test_an_empty_folder_and_a_single_picture_are_refused(tmp_path, keep, message):
    folders = write_squares(tmp_path)
    for path in sorted((tmp_path / "lit").iterdir())[keep:]:
        path.unlink()
    (tmp_path / "lit" / "notes.txt").write_text("none")
    with pytest.raises(InvalidInputError, match=message):
        read_folders(folders, 64, channels=1)


def test_too_few_readable_pictures_are_told_with_the_first_reason(tmp_path):
    folders = write_squares(tmp_path)
    for path in (tmp_path / "lit").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(
        InvalidInputError, match=r"got 0 in .*lit; 6 cannot be read, the first: .*\.png: image must"
    ):
        read_folders(folders, 64, channels=1)


def test_a_missing_folder_is_named(tmp_path):
    (dark, _) = write_squares(tmp_path)
    with pytest.raises(ArtifactNotFoundError, match="none"):
        read_folders((dark, str(tmp_path / "none")), 64, channels=1)


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("a",), "two folders, one for each class, got 1"),
        (("x/a", "y/a"), "different names"),
        (("a", "b", "c"), "got 3"),
    ],
)
def test_classes_are_two_and_have_different_names(folders, message):
    with pytest.raises(InvalidInputError, match=message):
        read_folders(folders, 64, channels=1)


def test_sixteen_bits_colours_and_other_sizes_become_what_the_network_takes(tmp_path):
    draws = np.random.default_rng(0)
    for label in LABELS:
        (tmp_path / label).mkdir()
        deep = draws.integers(0, 60_000, (40, 50)).astype(np.uint16)
        PillowImage.fromarray(deep).save(tmp_path / label / "deep.png")
        colours = draws.integers(0, 255, (80, 70, 3)).astype(np.uint8)
        PillowImage.fromarray(colours).save(tmp_path / label / "colours.png")
    folders = [str(tmp_path / label) for label in LABELS]
    assert read_folders(folders, 64, channels=1).inputs.shape == (4, 1, 64, 64)
    coloured = read_folders(folders, 64, channels=3).inputs
    assert coloured.shape == (4, 3, 64, 64)
    assert torch.equal(coloured[1, 0], coloured[1, 1])  # deep.png comes second, and is grey
    assert not torch.equal(coloured[0, 0], coloured[0, 1])


def test_a_split_holds_out_a_share_of_each_class_and_repeats():
    pictures = tiny_pictures(20)
    shown, held_out = pictures.split(0.2, Keys.root(0, "x"))
    assert (shown.counts, held_out.counts) == ((16, 16), (4, 4))
    again = pictures.split(0.2, Keys.root(0, "x"))[1]
    assert torch.equal(again.inputs, held_out.inputs)
    other = pictures.split(0.2, Keys.root(1, "x"))[1]
    assert not torch.equal(other.inputs, held_out.inputs)


def test_a_split_never_takes_the_last_two():
    shown, held_out = tiny_pictures(2).split(0.9, Keys.root(0, "x"))
    assert (shown.counts, held_out.counts) == ((2, 2), (0, 0))
