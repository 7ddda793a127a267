"""``xaiserve explain``, through its files and streams."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image as PillowImage

from xaiserve.cli import main
from xaiserve.cli.options import named_source
from xaiserve.storage.rle import rle_to_mask
from xaiserve.testing.jobs import cell_mask

QUICK = ("--set", "iterations=2", "--set", "spotlights=2", "--set", "budget=2")


def explain(model: Path, *arguments: object) -> Result:
    return CliRunner().invoke(
        main, ["explain", "--model", str(model), *(str(argument) for argument in arguments)]
    )


def occluded(model: Path, *arguments: object) -> Result:
    return explain(model, "--method", "occlusion", "--set", "cells=4", *arguments)


def test_writes_an_overlay_and_a_document_per_photo_and_two_files_about_all(
    model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    ended = occluded(model_folder, photos, "--out", tmp_path / "out")
    assert ended.exit_code == 0, ended.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("000.json", "001.json", "002.json"),
        *("000.overlay.png", "001.overlay.png", "002.overlay.png"),
        *("explanations.json", "report.html"),
    }


def test_the_map_points_at_the_cell_that_decides(
    model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    occluded(model_folder, photos, "--out", tmp_path / "out")
    for index in range(3):
        document = json.loads((tmp_path / "out" / f"{index:03d}.json").read_text())
        peak = document["saliency"]["peak"]
        assert cell_mask(index)[peak["row"], peak["column"]]


def test_sufficient_sets_hold_evidence_of_the_cell_that_decides(
    model_folder: Path, photos: Path
) -> None:
    ended = explain(model_folder, photos / "001.png", "--json", *QUICK)
    (document,) = json.loads(ended.stdout)
    assert document["target"]["label"] == "light"
    found = [document["explanations"][index] for index in document["selected"]]
    assert found
    truth = torch.from_numpy(cell_mask(1))
    assert all(bool((rle_to_mask(one["mask"]) & truth).any()) for one in found)


def test_hidden_pixels_show_the_context(model_folder: Path, photos: Path) -> None:
    arguments = (photos / "001.png", "--json", *QUICK, "--set", "baseline=context")
    refused = explain(model_folder, *arguments)
    assert refused.exit_code != 0
    assert "baseline context needs a context picture" in refused.stderr
    dark = explain(model_folder, *arguments, "--context", photos / "000.png")
    (document,) = json.loads(dark.stdout)
    assert document["target"]["label"] == "light"


def test_json_is_all_that_stdout_holds(model_folder: Path, photos: Path) -> None:
    documents = json.loads(occluded(model_folder, photos, "--json").stdout)
    assert [document["name"] for document in documents] == [
        "000.png",
        "001.png",
        "002.png",
    ]
    assert documents[0]["saliency"]["dtype"] == "<f4"


def test_an_unreadable_photo_is_reported_in_its_place_and_the_others_go_on(
    model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "001.png").write_bytes(b"this is no picture")
    ended = occluded(model_folder, photos, "--json", "--out", tmp_path / "out")
    assert ended.exit_code == 1
    assert "001.png: image must be one of" in ended.stderr
    documents = json.loads(ended.stdout)
    assert ["error" in document for document in documents] == [False, True, False]
    assert documents[1]["error"]["kind"] == "UnsupportedMediaError"
    page = (tmp_path / "out" / "report.html").read_text()
    assert "2 images explained, 1 not" in page


def test_a_single_unreadable_photo_is_misuse(model_folder: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"")
    ended = occluded(model_folder, photo, "--json")
    assert ended.exit_code == 2
    assert json.loads(ended.stdout)[0]["error"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--target", "heron"), "target 'heron' is no label of this model"),
        (("--target", "7"), "target must be a class index from 0 to 1, got 7"),
        (("--method", "magic"), "method 'magic' does not exist"),
        (("--set", "iterations=0"), "iterations must be an integer from 1 to 1000, got 0"),
        (("--set", "wings=2"), "wings is not a parameter; known are iterations"),
        (("--set", "wings"), "'wings' must be key=value"),
        (("--range", "5,1"), "low must be below high, got 5,1"),
        (("--range", "5"), "'5' must be two numbers, low,high"),
        (("--max-inputs", "0"), "0 is not in the range x>=1"),
        (("--method", "grad-cam"), "gradients"),
    ],
)
def test_misuse_is_told_with_field_value_and_range(
    model_folder: Path, photos: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    ended = explain(model_folder, photos, "--json", *arguments)
    assert ended.exit_code == 2
    assert sentence in ended.stderr


def test_a_model_that_is_not_there_is_misuse(photos: Path, tmp_path: Path) -> None:
    ended = occluded(tmp_path / "nowhere", photos, "--json")
    assert ended.exit_code == 2
    assert "nowhere" in ended.stderr


def test_a_photo_that_is_not_there_is_misuse(model_folder: Path, tmp_path: Path) -> None:
    ended = occluded(model_folder, tmp_path / "gone.jpg", "--json")
    assert ended.exit_code == 2
    assert "gone.jpg" in ended.stderr


def test_a_folder_without_pictures_is_misuse(model_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    ended = occluded(model_folder, tmp_path, "--json")
    assert ended.exit_code == 2
    assert "holds no picture" in ended.stderr


def test_asks_for_somewhere_to_put_the_results(model_folder: Path, photos: Path) -> None:
    ended = occluded(model_folder, photos)
    assert ended.exit_code == 2
    assert "Give --out DIR, or --json, or both." in ended.stderr


def test_a_class_that_the_model_does_not_decide_for_fails_without_misuse(
    model_folder: Path, photos: Path
) -> None:
    ended = explain(model_folder, photos / "000.png", "--target", "dark", "--json", *QUICK)
    assert ended.exit_code == 1
    assert "the top class is 1" in ended.stderr
    (document,) = json.loads(ended.stdout)
    assert document["outcome"] == "none"
    assert "the top class is 1" in document["reason"]


def test_a_spent_budget_without_a_result_fails(model_folder: Path, photos: Path) -> None:
    ended = occluded(model_folder, photos / "000.png", "--max-inputs", "3", "--json")
    assert ended.exit_code == 1
    assert "max_inputs = 3" in ended.stderr


def test_photos_of_one_name_have_files_of_their_own(
    model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    again = photos / "again"
    again.mkdir()
    (photos / "000.png").rename(again / "001.png")
    occluded(model_folder, photos, "--out", tmp_path / "out")
    names = {path.name for path in (tmp_path / "out").glob("*.overlay.png")}
    assert names == {"001.overlay.png", "001-2.overlay.png", "002.overlay.png"}


def test_files_of_other_names_are_left_alone(
    model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / "report.html").write_text("old")
    occluded(model_folder, photos, "--out", out)
    assert (out / "mine.txt").read_text() == "mine"
    assert (out / "report.html").read_text() != "old"


def test_the_original_frame_draws_over_the_original_pixels(
    model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    PillowImage.open(photos / "000.png").resize((900, 600)).save(tmp_path / "large.png")
    occluded(model_folder, tmp_path / "large.png", "--frame", "original", "--out", tmp_path / "out")
    with PillowImage.open(tmp_path / "out" / "large.overlay.png") as overlay:
        assert overlay.width == 900 + 2 * 10


def test_what_was_chosen_and_written_is_told_on_stderr(
    model_folder: Path, photos: Path, tmp_path: Path
) -> None:
    ended = occluded(model_folder, photos, "--out", tmp_path / "out")
    assert "model.onnx" in ended.stderr
    assert f"report.html to {tmp_path / 'out'}" in ended.stderr
    assert "%|" not in ended.stderr, "a progress bar is for terminals"


def test_a_line_per_photo_is_for_people(model_folder: Path, photos: Path, tmp_path: Path) -> None:
    lines = occluded(model_folder, photos, "--out", tmp_path / "out").stdout.splitlines()
    assert len(lines) == 3
    assert "light (class 1)" in lines[0]


def test_a_model_may_be_given_a_name() -> None:
    assert named_source("mine=/models/x") == ("mine", "/models/x")
    assert named_source("/models/x") == (None, "/models/x")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "cells=5"), "--set cells must be given once, got 4 and 5"),
        (("--seed", "-1"), "-1 is not in the range 0<=x<=9223372036854775807"),
        (("--max-seconds", "nan"), "must be a finite number above 0, got 'nan'"),
        (("--max-seconds", "0"), "must be a finite number above 0, got '0'"),
    ],
)
def test_what_would_be_dropped_or_never_hold_is_misuse(
    model_folder: Path, photos: Path, words: tuple[str, ...], said: str
) -> None:
    ended = occluded(model_folder, photos, "--json", *words)
    assert ended.exit_code == 2
    assert said in ended.stderr


@pytest.mark.ray
def test_workers_find_what_one_process_finds(model_folder: Path, photos: Path) -> None:
    here = explain(model_folder, photos, "--json", *QUICK)
    there = explain(model_folder, photos, "--json", *QUICK, "--workers", 2)
    assert there.exit_code == 0, there.output
    assert findings(there) == findings(here)


def findings(ended: Result) -> list[object]:
    """Everything but the times."""
    documents = json.loads(ended.stdout)
    return [{**one, "cost": one["cost"]["model_inputs"]} for one in documents]


def test_workers_are_refused_for_a_method_that_computes_gradients(
    model_folder: Path, photos: Path
) -> None:
    ended = explain(model_folder, photos, "--json", "--method", "grad-cam", "--workers", 2)
    assert ended.exit_code == 2
    assert "workers must be 0 for method grad-cam, got 2" in ended.stderr
