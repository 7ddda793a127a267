"""Contrast pictures on the command line: where they come from, and what comes out."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from xaiserve.cli import main
from xaiserve.explainers.registry import EXPLAINERS
from xaiserve.storage.pictures import decode
from xaiserve.testing.translators import write_tiny_translator

FAST = tuple(
    word
    for pair in ("samples=100", "segmenter=gan_diff", "diff_threshold=0.05", "diff_min_area_px=10")
    for word in ("--set", pair)
)
"""For pictures of 32 x 32."""


def ended(*words):
    result = CliRunner().invoke(main, list(map(str, words)))
    return result.exit_code, result.output


def explain(photos, model, *words):
    method = ["--method", "clear-image", *FAST]
    return ended("explain", photos, "--model", f"cells={model}", *method, *words)


@pytest.fixture
def dark(photos, tmp_path):
    """The same pictures without their bright cell, as JPEG's neighbours: other endings."""
    folder = tmp_path / "dark"
    folder.mkdir()
    for path in photos.glob("*.png"):
        Image.fromarray(np.full((32, 32), 20, np.uint8)).save(folder / f"{path.stem}.tif")
    return folder


def test_stored_pairs_are_found_by_name_and_written_beside_the_overlay(
    photos, model_folder, dark, tmp_path
):
    out = tmp_path / "out"
    code, told = explain(photos, model_folder, "--contrast", f"file:{dark}", "--out", out)

    assert code == 0, told
    found = decode((out / "000.contrast.png").read_bytes()).image.convert("L")
    assert found.getextrema() == (20, 20)
    document = json.loads((out / "000.json").read_text())
    assert document["model"] == "cells"
    assert "a stored picture, 000.tif" in json.dumps(document["details"])
    assert {path.name for path in out.iterdir()} >= {"002.contrast.png", "002.overlay.png"}


def test_an_image_without_its_partner_fails_alone(photos, model_folder, dark, tmp_path):
    (dark / "001.tif").unlink()
    out = tmp_path / "out"
    code, told = explain(photos, model_folder, "--contrast", f"file:{dark}", "--out", out)

    assert code == 1
    assert "001.png: image 001.png has no partner named '001' in" in told
    assert sorted(path.name for path in out.glob("*.contrast.png")) == [
        "000.contrast.png",
        "002.contrast.png",
    ]


def test_one_stored_picture_is_for_one_photo(photos, model_folder, dark):
    pair = f"file:{dark / '000.tif'}"

    assert explain(photos / "000.png", model_folder, "--contrast", pair, "--json")[0] == 0
    code, told = explain(photos, model_folder, "--contrast", pair, "--json")
    assert code == 2
    assert "is one picture, for one image, and there are 3" in told


def test_a_translators_pictures_are_the_same_for_one_photo_and_for_many(
    photos, model_folder, tmp_path
):
    translator = write_tiny_translator(tmp_path / "gan", ("dark", "LIGHT"))
    words = ("--translator", translator, "--out")
    assert explain(photos, model_folder, *words, tmp_path / "all")[0] == 0
    assert explain(photos / "001.png", model_folder, *words, tmp_path / "one")[0] == 0

    name = "001.contrast.png"
    assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    document = json.loads((tmp_path / "all/001.json").read_text())
    assert "translator gan's picture of the image in class dark" in str(document["details"])


def test_a_pool_gives_the_nearest_picture_of_the_other_class(photos, model_folder, dark):
    pool = dark.parent / "pool.csv"
    pool.write_text("uri,label\ndark/000.tif,dark\nphotos/001.png,light\n")
    code, told = explain(photos, model_folder, "--contrast", f"nearest:{pool}", "--json")

    assert code == 0, told
    assert "000.tif (dark)" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "compares the image with a contrast picture, and there is none: give translator"),
        (("--translator", "x", "--contrast", "blur"), "got both"),
        (("--contrast", "telea"), "nearest:POOL, file:PAIR, blur, inpaint"),
        (("--contrast", "blur", "--contrast-set", "low=1"), "low is not a parameter"),
        (("--contrast-set", "low=1"), "goes with a translator or a contrast"),
        (("--translator", "absent"), "absent"),
        (
            ("--contrast", "blur", "--contrast-set", "sigma=1", "--contrast-set", "sigma=2"),
            "--contrast-set sigma must be given once",
        ),
    ],
)
def test_what_is_wrong_is_misuse_and_a_sentence(photos, model_folder, words, said):
    code, told = explain(photos, model_folder, *words, "--json")

    assert code == 2, told
    assert said in told


@pytest.mark.parametrize("words", [("--translator", "x"), ("--contrast", "blur")])
def test_a_contrast_for_another_method_is_misuse(photos, model_folder, words):
    code, told = ended(
        *("explain", photos, "--model", model_folder, "--method", "occlusion"), *words, "--json"
    )

    assert code == 2
    assert "is for methods that compare the image with a contrast picture, got occlusion" in told


def test_a_translator_of_other_classes_is_misuse_with_both_lists(photos, model_folder, tmp_path):
    translator = write_tiny_translator(tmp_path / "gan", ("cat", "dog"))
    code, told = explain(photos, model_folder, "--translator", translator, "--json")

    assert code == 2
    assert "cat, dog, of which the classifier has none; it has dark, light" in told


def test_a_gallery_draws_what_has_contrasts_and_says_what_it_leaves_out(
    photos, model_folder, tmp_path, monkeypatch
):
    names = {
        name: place for name, place in EXPLAINERS.items() if name in {"occlusion", "clear-image"}
    }
    monkeypatch.setattr("xaiserve.cli.comparing.EXPLAINERS", names)
    gallery = ("gallery", photos / "000.png", "--model", model_folder, "--out")

    code, told = ended(*gallery, tmp_path / "a.png")
    assert (code, "without clear-image: give --translator" in told) == (0, True), told
    assert "methods: 1" in told

    code, told = ended(*gallery, tmp_path / "b.png", "--contrast", "blur")
    assert (code, "methods: 2" in told) == (0, True), told
