"""The page of a finished job, from its rows alone."""

from pathlib import Path

import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from xaiserve.cli import main
from xaiserve.pipelines import explain, pointing_game
from xaiserve.pipelines.highlights import PER_METHOD
from xaiserve.pipelines.reporting import job_report
from xaiserve.storage.local import LocalStore
from xaiserve.testing.jobs import write_images
from xaiserve.testing.jobs_here import run_here

METHODS = ("multirex", "occlusion")
OPTIONS = {
    "multirex": {"iterations": "2", "spotlights": "2", "budget": "2"},
    "occlusion": {"cells": "4"},
}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    found = write_images(tmp_path / "images", 5)
    (found.parent / "001.png").write_bytes(b"no picture")
    return found


@pytest.fixture
def pointing_job(manifest: Path, model_folder: Path, tmp_path: Path) -> Path:
    config = pointing_game.Config(
        images=str(manifest),
        out=str(tmp_path / "out"),
        model="toy",
        model_source=str(model_folder),
        methods=METHODS,
        options=OPTIONS,
    )
    return run_here(pointing_game.plan(config))


def report(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *(str(argument) for argument in arguments)])


def test_the_page_lies_beside_the_rows(pointing_job: Path) -> None:
    ended = report(pointing_job)
    assert ended.exit_code == 0, ended.output
    page = (pointing_job / "_report.html").read_text(encoding="utf-8")
    assert "Does the explanation point at the object?" in page
    assert "data:image/jpeg" in page
    rows = len(METHODS) * 5
    assert len(pd.read_parquet(pointing_job, columns=["row_id"])) == rows
    found = duckdb.read_parquet(f"{pointing_job}/*/*.parquet", union_by_name=True)
    assert found.count("*").fetchall() == [(rows,)]


def test_a_page_can_be_written_elsewhere(pointing_job: Path, tmp_path: Path) -> None:
    assert report(pointing_job, "--out", tmp_path / "page.html").exit_code == 0
    assert (tmp_path / "page.html").exists()
    assert not (pointing_job / "_report.html").exists()


def test_a_page_that_cannot_be_written_is_misuse(pointing_job: Path, tmp_path: Path) -> None:
    ended = report(pointing_job, "--out", tmp_path / "nowhere" / "page.html")
    assert ended.exit_code == 2
    assert "cannot be written" in ended.stderr


def test_cases_are_ranked_and_no_image_is_both_best_and_worst(pointing_job: Path) -> None:
    found = job_report(LocalStore(pointing_job))
    for method in METHODS:
        best = [one for one in found.best if ("method", method) in one.facts]
        worst = [one for one in found.worst if ("method", method) in one.facts]
        assert 0 < len(best) <= PER_METHOD
        assert not {one.name for one in best} & {one.name for one in worst}
        energies = [dict(one.facts)["energy in the object"] for one in (*best, *reversed(worst))]
        assert energies == sorted(energies, reverse=True)


def test_failed_rows_the_counts_and_the_blind_methods_are_there(pointing_job: Path) -> None:
    found = job_report(LocalStore(pointing_job))
    assert found.failed == len(METHODS)
    assert "image must be one of" in found.failures[0].reason
    assert [one.method for one in found.distributions] == ["multirex"]
    assert sum(found.distributions[0].images.values()) == 4
    assert found.summary is not None
    assert [one.method for one in found.summary.methods][-2:] == ["centre", "chance"]


def test_an_image_that_is_gone_leaves_its_numbers(pointing_job: Path, manifest: Path) -> None:
    for picture in manifest.parent.glob("*.png"):
        picture.unlink()
    found = job_report(LocalStore(pointing_job))
    assert all(one.picture is None for one in found.best)
    assert "no picture" in dict(found.best[0].facts)


def test_a_job_without_ground_truth_shows_examples(
    manifest: Path, model_folder: Path, tmp_path: Path
) -> None:
    config = explain.Config(
        images=str(manifest),
        out=str(tmp_path / "out"),
        model="toy",
        model_source=str(model_folder),
        methods=METHODS,
        options=OPTIONS,
    )
    found = job_report(LocalStore(run_here(explain.plan(config))))
    assert found.summary is None
    assert len(found.examples) == PER_METHOD * len(METHODS)
    assert all(one.picture for one in found.examples)


def test_an_output_without_a_finished_job_is_misuse(tmp_path: Path) -> None:
    ended = report(tmp_path)
    assert ended.exit_code == 2
    assert "must hold a finished job" in ended.stderr
