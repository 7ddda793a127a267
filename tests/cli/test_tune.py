import json

import pytest
from click.testing import CliRunner

from xaiserve.cli import main
from xaiserve.cli.configuring import make_config
from xaiserve.cli.tune import render
from xaiserve.pipelines.sweep import Summary
from xaiserve.pipelines.trying import Outcome
from xaiserve.testing.jobs import write_images
from xaiserve.testing.presets import PRESET


def ended(*words):
    result = CliRunner().invoke(main, list(map(str, words)))
    return result.exit_code, result.output


@pytest.fixture
def preset(tmp_path):
    path = tmp_path / "best.json"
    path.write_bytes(PRESET.to_json())
    return path


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ("cell: {choice: [1]}", "space: cell is not a parameter of occlusion"),
        ("cells: {randint: [1, 65]}", "space: cells must be an integer from 1 to 64, got 65"),
    ],
)
def test_a_wrong_space_is_refused_before_anything_starts(space, told, model_folder, tmp_path):
    path, out = tmp_path / "space.yaml", tmp_path / "out"
    path.write_text(space, encoding="utf-8")
    images = write_images(tmp_path / "images", 1)
    words = ["--space", path, "--objective", "energy", "--images", images, "--out", out]
    code, output = ended("tune", "occlusion", *words, "--model", f"toy={model_folder}")
    assert code == 2
    assert told in output
    assert not out.exists()


def test_images_without_ground_truth_are_refused(model_folder, photos, tmp_path):
    path = tmp_path / "space.yaml"
    path.write_text("cells: {choice: [4]}", encoding="utf-8")
    words = ["--space", path, "--objective", "energy", "--images", photos]
    words += ["--out", tmp_path / "out", "--model", f"toy={model_folder}"]
    code, output = ended("tune", "occlusion", *words)
    assert code == 2
    assert "a mask for every row" in output


def test_explain_takes_the_preset_file(model_folder, photos, preset):
    words = ["explain", photos, "--model", model_folder, "--json", "--method"]
    result = CliRunner().invoke(main, [*map(str, words), "occlusion", "--set", f"preset={preset}"])
    assert result.exit_code == 0, result.output
    assert {each["parameters"]["cells"] for each in json.loads(result.stdout)} == {4}
    code, output = ended(*words, "rise", "--set", f"preset={preset}")
    assert code == 2
    assert "is for occlusion, and the method is rise" in output


def test_a_submitted_job_is_told_the_values_and_needs_no_file(preset):
    config = make_config(
        kind="explain",
        named_model="toy=somewhere",
        methods="occlusion,rise",
        settings=(f"occlusion.preset={preset}", "occlusion.grey=0.5"),
        images="s3://bucket/images",
        out="s3://bucket/out",
        tolerance_px=None,
    )
    assert config.options == {"occlusion": {"cells": "4", "fill": "grey", "grey": "0.5"}}


def test_the_table_has_the_best_first_and_where_the_sweep_started():
    found = {"value": 0.5, "low": 0.25, "high": 0.75, "images": 10, "model_inputs": 650}
    start = Outcome(number=0, status="done", parameters={"cells": 8}, found=found)
    best = Outcome(number=1, status="done", parameters={"cells": 4}, found={**found, "value": 1.0})
    lost = Outcome(number=2, status="failed", parameters={"cells": 2}, reason="no memory")
    summary = Summary(out="out", objective="energy", outcomes=(start, best, lost), best=best)
    assert render(summary).splitlines() == [
        "energy of 2 trials, 1 failed; the best first",
        "  trial 1: cells=4  1.000 [0.250, 0.750]  65 model inputs per image",
        "  trial 0: cells=8  0.500 [0.250, 0.750]  65 model inputs per image  where it started",
        "'--set preset=out/best.json' takes the best; score it on other images",
    ]
