"""The demonstration as people run it, with fewer images."""

import subprocess
import sys
from pathlib import Path

import pytest

from xaiserve.storage.dataset import read_rows
from xaiserve.testing.jobs import processes_with

DEMO = Path(__file__).resolve().parents[2] / "jobs" / "demo.py"


def demo(out, images, limit_s):
    return subprocess.run(
        [sys.executable, str(DEMO), "--out", str(out), "--images", str(images)],
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )


@pytest.mark.ray
@pytest.mark.slow
def test_the_demo_shows_the_table_and_leaves_rows_a_report_and_no_process(tmp_path, monkeypatch):
    out = tmp_path / "demo"
    monkeypatch.setenv("DEMO_OF_TEST", str(out))
    ended = demo(out, 3, 240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for word in (
        "multirex",
        "clear-image",
        "occlusion",
        "rise",
        "chance",
        "centre",
        "explanations per image",
    ):
        assert word in ended.stdout
    assert "the service answers" in ended.stdout
    assert "exactly as many explanations as were planted in 3 of 3 images" in ended.stdout
    assert "calls 3 of 3 images overdetermined as planted" in ended.stdout
    rows = read_rows(out / "results", ["row_id", "method", "status"]).to_pylist()
    assert len(rows) == 12
    assert {row["status"] for row in rows} == {"ok"}
    page = (out / "results" / "_report.html").read_text()
    assert "data:image/" in page
    assert "http-equiv" not in page
    assert processes_with(f"DEMO_OF_TEST={out}") == []


def test_the_demo_leaves_a_folder_of_something_else_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")
    ended = demo(tmp_path, 3, 60)
    assert ended.returncode == 2
    assert "holds files of something else" in ended.stderr
    assert (tmp_path / "precious.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["explain", "pointing_game"])
def test_a_job_script_takes_the_options_of_submit(name):
    script = DEMO.with_name(f"{name}.py")
    ended = subprocess.run(
        [sys.executable, str(script), "--help"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    for option in ("--images", "--model", "--methods", "--out", "--set"):
        assert option in ended.stdout
