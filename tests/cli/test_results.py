"""Rows of a job as people and programs read them; a job before it begins, and one that is ended."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from xaiserve.cli import main
from xaiserve.dispatch.progress import PROGRESS
from xaiserve.pipelines import explain, pointing_game
from xaiserve.pipelines.cluster import Placement
from xaiserve.pipelines.estimating import estimate
from xaiserve.pipelines.progress import Progress
from xaiserve.storage.local import LocalStore
from xaiserve.testing.jobs import cell_mask, write_images
from xaiserve.testing.jobs_here import run_here


def ended(*words):
    result = CliRunner().invoke(main, [str(word) for word in words])
    return result.exit_code, result.stdout, result.stderr


def config_of(tmp_path, model_folder, images, **changes):
    given = {
        "images": str(images),
        "out": str(tmp_path / "out"),
        "model": "toy",
        "model_source": str(model_folder),
        "methods": ("occlusion",),
        "options": {"occlusion": {"cells": "4"}},
    }
    return given | changes


@pytest.fixture(scope="module")
def job(tmp_path_factory, model_folder):
    folder = tmp_path_factory.mktemp("job")
    manifest = write_images(folder / "images", 4)
    (manifest.parent / "001.png").write_bytes(b"no picture")
    options = {"occlusion": {"cells": "4"}, "multirex": {"iterations": "2", "spotlights": "2"}}
    given = config_of(
        folder, model_folder, manifest, methods=("occlusion", "multirex"), options=options
    )
    return run_here(explain.plan(explain.Config(**given)))


def test_the_table_has_the_rows_that_are_asked_for(job):
    code, text, _ = ended("results", "--out", job, "--status", "invalid_image")
    lines = text.splitlines()
    assert code == 0
    assert lines[0].split() == [
        *("image_name", "row_id", "method", "status", "target_label", "confidence"),
        *("model_inputs", "error_text"),
    ]
    assert {tuple(line.split()[:4]) for line in lines[1:]} == {
        ("001.png", "image-1", method, "invalid_image") for method in ("occlusion", "multirex")
    }
    code, text, told = ended("results", "--out", job, "--limit", "2", "--columns", "row_id,seed")
    assert (len(text.splitlines()), "--limit shows more" in told) == (3, True)
    code, _, told = ended("results", "--out", job, "--limit", "0")
    assert (code, "0 is not in the range" in told) == (2, True)


def test_pictures_of_ids_that_no_file_can_be_named_by_keep_apart(tmp_path, model_folder):
    write_images(tmp_path / "images", 2)
    manifest = tmp_path / "images" / "odd.jsonl"
    rows = [{"uri": "000.png", "id": "a/b"}, {"uri": "001.png", "id": "a_b"}]
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = config_of(tmp_path, model_folder, manifest, methods=("occlusion",))
    out = run_here(explain.plan(explain.Config(**given)))
    words = ("--row", "a/b", "--row", "a_b", "--pictures", str(tmp_path / "p"))
    code, _, told = ended("results", "--out", out, *words)
    assert (code, told) == (0, "")
    names = {path.name for path in (tmp_path / "p").iterdir()}
    assert names == {"a%2Fb.occlusion.overlay.png", "a_b.occlusion.overlay.png"}


def test_json_lines_hold_every_column(job):
    code, text, _ = ended(
        "results", "--out", job, "--json", "--row", "image-2", "--method", "occlusion"
    )
    (row,) = map(json.loads, text.splitlines())
    assert (code, row["method"], row["model_inputs"]) == (0, "occlusion", 18)
    assert row["saliency"]["height"] == 32


def test_pictures_and_masks_of_a_row_are_written_at_the_originals_size(job, tmp_path):
    code, text, _ = ended("results", "--out", job, "--row", "image-2", "--pictures", tmp_path / "p")
    names = sorted(path.name for path in (tmp_path / "p").iterdir())
    assert (code, len(text.splitlines())) == (0, len(names))
    assert {"image-2.multirex.overlay.png", "image-2.occlusion.overlay.png"} < {*names}
    assert names[0] == "image-2.multirex.mask-1.png"
    mask = np.array(Image.open(tmp_path / "p" / "image-2.multirex.mask-1.png")) > 0
    assert mask.shape == (32, 32)
    assert (mask & cell_mask(2)).any()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method", "magic"], "--method must be one of occlusion, multirex, got 'magic'"),
        (["--status", "okay"], "'okay' is not one of 'ok', 'none', 'error', 'invalid_image'"),
        (["--columns", "nonsense"], "got nonsense"),
        (["--pictures", "p"], "draws the rows that --row names"),
        (["--pictures", "p", "--row", "nobody"], "none has one"),
    ],
)
def test_misuse_ends_with_a_sentence(job, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, told = ended("results", "--out", job, *words)
    assert code == 2
    assert said in told


def test_an_output_without_a_job_is_told(tmp_path):
    assert ended("results", "--out", tmp_path)[0] == 2
    code, _, told = ended("cancel", "--out", tmp_path)
    assert (code, "holds no job" in told) == (2, True)
    assert ended("cancel")[0] == 2


def test_a_job_that_has_ended_is_cancelled_without_a_trace(tmp_path):
    LocalStore(tmp_path).write(PROGRESS, Progress(state="done", total=4, done=4).to_json())
    code, text, _ = ended("cancel", "--out", tmp_path)
    assert (code, "done: 4/4" in text) == (0, True)
    assert LocalStore(tmp_path).list() == [PROGRESS]


def test_an_estimate_says_what_a_job_costs_and_leaves_nothing(tmp_path, model_folder):
    manifest = write_images(tmp_path / "images", 50)
    job = explain.plan(explain.Config(**config_of(tmp_path, model_folder, manifest)))
    found = estimate(job, Placement(cpus=2))
    assert (found.images, found.explanations, found.done, found.workers) == (50, 50, 0, 2)
    assert found.model_inputs == 50 * 18
    assert "  occlusion: 18 model inputs and" in found.render()
    assert json.loads(json.dumps(found.to_json()))["model_inputs"] == 900
    assert not (tmp_path / "out").exists()


def test_boxes_and_outlines_are_ground_truth_as_masks_are(tmp_path, model_folder):
    manifest = write_images(tmp_path / "images", 3)
    truths = [
        {"mask": "000-mask.tif"},
        {"boxes": [[8, 0, 8, 8]]},
        {"outlines": json.dumps([[[16, 0, 24, 0, 24, 8, 16, 8]]])},
    ]
    lines = [{"id": f"i{n}", "uri": f"{n:03d}.png"} | truth for n, truth in enumerate(truths)]
    manifest.write_text("\n".join(map(json.dumps, lines)))
    given = config_of(tmp_path, model_folder, manifest)
    out = run_here(pointing_game.plan(pointing_game.Config(**given)))
    _, text, _ = ended(
        "results", "--out", out, "--json", "--columns", "energy,energy_chance,status"
    )
    assert [json.loads(line) for line in text.splitlines()] == [
        {"energy": 1.0, "energy_chance": 1 / 16, "status": "ok"}
    ] * 3
