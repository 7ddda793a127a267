from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner, Result
from PIL import Image as PillowImage

from xaiserve.cli import main
from xaiserve.report.gallery import CELL_PX, GAP_PX
from xaiserve.testing.presets import PRESET


def gallery(model: Path, photos: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["gallery", str(photos), "--model", str(model), *arguments])


def test_has_a_row_per_image_and_a_column_per_method(
    model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "g.png"
    ended = gallery(model_folder, photos, "--methods", "occlusion,multirex", "--out", str(out))
    assert ended.exit_code == 0, ended.output
    with PillowImage.open(out) as picture:
        # The image, occlusion, and the two columns of multirex.
        assert picture.width == 4 * CELL_PX + 5 * GAP_PX
        assert picture.height > 3 * CELL_PX


def test_a_method_that_does_not_go_with_the_model_says_so_in_its_place(
    model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "g.png"
    ended = gallery(model_folder, photos, "--methods", "occlusion,grad-cam", "--out", str(out))
    assert ended.exit_code == 0, ended.output
    with PillowImage.open(out) as picture:
        assert picture.width == 3 * CELL_PX + 4 * GAP_PX


def test_methods_take_parameters_and_presets(
    model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    file = tmp_path / "best.json"
    file.write_bytes(replace(PRESET, parameters={"cells": 2}).to_json())
    drawn = {}
    for name, words in {
        "default": [],
        "set": ["--set", "occlusion.cells=2"],
        "preset": ["--set", f"occlusion.preset={file}"],
        "alone": ["--set", "cells=2"],
    }.items():
        out = tmp_path / f"{name}.png"
        methods = ("--methods", "occlusion" if name == "alone" else "occlusion,rise")
        few = ["--set", "rise.samples=8"] if name != "alone" else []
        ended = gallery(model_folder, photos, *methods, *few, *words, "--out", str(out))
        assert ended.exit_code == 0, ended.output
        with PillowImage.open(out) as picture:
            second = CELL_PX + 2 * GAP_PX
            drawn[name] = picture.crop((second, 0, second + CELL_PX, picture.height)).tobytes()
    assert drawn["default"] != drawn["set"] == drawn["preset"] == drawn["alone"]


def test_a_parameter_of_a_method_that_is_not_drawn_is_misuse(
    model_folder: Path, photos: Path
) -> None:
    ended = gallery(model_folder, photos, "--methods", "occlusion", "--set", "rise.samples=8")
    assert ended.exit_code == 2
    assert "--set is for rise, which is not among occlusion" in ended.stderr


def test_a_file_that_would_be_no_png_by_its_name_is_misuse(
    model_folder: Path, photos: Path
) -> None:
    ended = gallery(model_folder, photos, "--out", str(photos / "page.txt"))
    assert (ended.exit_code, "--out must end in .png" in ended.stderr) == (2, True)
    assert not (photos / "page.txt").exists()


def test_an_unreadable_image_is_misuse(model_folder: Path, photos: Path) -> None:
    (photos / "000.png").write_bytes(b"?")
    assert gallery(model_folder, photos, "--methods", "occlusion").exit_code == 2


def test_the_unreadable_one_of_many_images_is_named(model_folder: Path, photos: Path) -> None:
    (photos / "000.png").write_bytes(b"no picture")
    ended = CliRunner().invoke(main, ["gallery", str(photos), "--model", str(model_folder)])
    assert ended.exit_code == 2
    assert f"{photos / '000.png'}: image must be one of" in ended.stderr
