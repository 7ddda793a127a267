"""The folder that `write_dataset` makes."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image as PillowImage

from xaiserve.data.dataset import read_manifest, write_dataset
from xaiserve.data.planted import planted_sample, planted_samples
from xaiserve.data.synthetic import synthetic_samples
from xaiserve.errors import ConflictError
from xaiserve.storage.images import expand


def read(path):
    return np.array(PillowImage.open(path))


def test_pictures_and_masks_come_back_pixel_for_pixel(tmp_path):
    samples = [planted_sample(0, 0, lesions=2), planted_sample(0, 1, lesions=0)]
    rows = read_manifest(write_dataset(samples, tmp_path))
    assert [row.label for row in rows] == ["diseased", "healthy"]
    assert [row.explanations for row in rows] == [2, None]
    for row, sample in zip(rows, samples, strict=True):
        assert np.array_equal(read(tmp_path / row.uri), sample.image)
        assert row.sha256 == hashlib.sha256((tmp_path / row.uri).read_bytes()).hexdigest()
    assert np.array_equal(read(tmp_path / rows[0].mask_uri) == 255, samples[0].truth)
    pieces = [read(tmp_path / uri) == 255 for uri in rows[0].feature_mask_uris.split(";")]
    for piece, feature in zip(pieces, samples[0].features, strict=True):
        assert np.array_equal(piece, feature.mask)
    assert rows[1].mask_uri == ""


def test_pictures_lie_in_a_folder_per_label_beside_their_twins(tmp_path):
    samples = list(synthetic_samples(seed=3, count=12))
    manifest = write_dataset(samples, tmp_path)
    for row, sample in zip(read_manifest(manifest), samples, strict=True):
        assert row.uri == f"{sample.label}/{sample.name}.png"
        assert np.array_equal(read(tmp_path / row.contrast), sample.ideal)
        assert json.loads(row.feature_squares) == [sorted(each.squares) for each in sample.features]


def test_the_second_manifest_has_the_pictures_with_a_ground_truth_as_jobs_read_them(tmp_path):
    samples = list(synthetic_samples(seed=3, count=12))
    write_dataset(samples, tmp_path)
    found = expand(str(tmp_path / "diseased.csv"))
    diseased = [sample for sample in samples if sample.label == "diseased"]
    assert [row.target for row in found] == ["diseased"] * len(diseased)
    for row, sample in zip(found, diseased, strict=True):
        assert np.array_equal(read(row.mask) == 255, sample.truth)
        assert [frozenset(each) for each in row.feature_squares] == [
            feature.squares for feature in sample.features
        ]
        assert len(row.feature_masks) == len(sample.features)
        assert np.array_equal(read(row.contrast), sample.ideal)


def test_row_ids_and_names_are_unique(tmp_path):
    rows = read_manifest(write_dataset(synthetic_samples(seed=0, count=8), tmp_path))
    assert [row.row_id for row in rows] == list(range(8))
    assert len({row.uri for row in rows}) == 8
    assert all(row.features for row in rows)


def test_two_writes_give_the_same_bytes(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second):
        write_dataset(planted_samples(seed=2, count=3), folder)
    names = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert names == sorted(p.relative_to(second) for p in second.rglob("*") if p.is_file())
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_a_folder_that_holds_a_data_set_is_refused(tmp_path):
    write_dataset([], tmp_path)
    with pytest.raises(ConflictError, match="already holds a data set"):
        write_dataset([], tmp_path)
