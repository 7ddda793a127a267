"""Jobs on a Ray of their own, as processes: run, broken, killed and run again."""

import json
import logging
import os
import signal
from pathlib import Path

import pandas as pd
import pytest
from moto.server import ThreadedMotoServer

from xaiserve.pipelines.progress import read_progress
from xaiserve.storage.dataset import read_manifest, read_rows
from xaiserve.storage.opening import open_store
from xaiserve.storage.s3 import s3_client
from xaiserve.testing.jobs import job_process, wait_until, workers_of, write_images

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LIMIT_S = 180.0
METHODS = ("occlusion", "rise")
"""Rise is slow enough here that something can happen in the middle of it."""


def words(kind, images, model, out, *more):
    return [
        *(kind, "--images", str(images), "--model", f"toy={model}", "--out", str(out)),
        *("--methods", ",".join(METHODS), "--set", "rise.samples=20000", "--tasks-per-part", "2"),
        *("--workers", "2", "--threads", "1", *more),
    ]


def ended(arguments, variables=None):
    with job_process(arguments, variables) as process:
        output, _ = process.communicate(timeout=LIMIT_S)
        return process.returncode, output


def every_row_once(out, images):
    rows = read_rows(open_store(out), ["row_id", "method", "task_id", "status"]).to_pylist()
    pairs = [(row["row_id"], row["method"]) for row in rows]
    assert sorted(pairs) == sorted(
        (f"image-{index}", method) for index in range(images) for method in METHODS
    )
    assert len({row["task_id"] for row in rows}) == len(rows)
    return rows


def parts(out: Path) -> dict[str, int]:
    """Name the parts of a job that is not finished, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("_parts/*/*.parquet")}


def files(out: Path) -> dict[str, int]:
    """Name the files of a finished job, and when each was written."""
    return {path.name: path.stat().st_mtime_ns for path in out.glob("method=*/*.parquet")}


def test_a_job_goes_on_past_an_unreadable_file_and_resumes_after_its_driver_died(
    tmp_path, model_folder
):
    manifest, out = write_images(tmp_path / "images", 16), tmp_path / "out"
    (tmp_path / "images" / "007.png").write_bytes(b"no picture")
    job = words("pointing-game", manifest, model_folder, out)
    with job_process(job) as process:
        assert wait_until(lambda: len(parts(out)) >= 6, process, limit_s=LIMIT_S)
        code, output = ended(job)
        assert (code, f"worked on by process {process.pid} of" in output) == (2, True), output
        assert read_progress(open_store(out)).runs
        before = parts(out)
    assert read_manifest(open_store(out)) is None
    assert read_progress(open_store(out)).state == "dead"

    code, output = ended(job)
    assert code == 1, output
    assert "2 failed" in output
    assert "image-7 (rise): image must be one of" in output
    statuses = [row["status"] for row in every_row_once(out, 16)]
    assert statuses.count("ok") == 30
    assert statuses.count("invalid_image") == 2
    after = files(out)
    assert len(after) == len(METHODS)
    assert json.loads((out / "_progress.json").read_text())["resumed"] >= 2 * len(before)
    summary = json.loads((out / "_summary.json").read_text())
    assert {each["method"] for each in summary["scores"]} == {*METHODS, "chance", "centre"}
    assert summary["rows"] == 32

    frame = pd.read_parquet(out)  # the whole folder, with all that lies beside the rows
    assert frame["method"].value_counts().to_dict() == dict.fromkeys(METHODS, 16)

    again, output = ended(job)
    assert (again, files(out), parts(out)) == (1, after, {}), output

    again, output = ended([*job, "--retry-errors"])
    assert (again, files(out)) == (2, after), output
    assert "its rows are published, 2 of them with errors, which retry_errors cannot do" in output
    assert read_progress(open_store(out)).state == "done"


def test_a_worker_that_is_killed_loses_and_repeats_nothing_on_s3(
    tmp_path, model_folder, monkeypatch
):
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server.start()
    host, port = server.get_host_and_port()
    variables = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    try:
        s3_client().create_bucket(Bucket="results")
        manifest, out = write_images(tmp_path / "images", 16), "s3://results/job"
        store = open_store(out)
        with job_process(words("explain", manifest, model_folder, out), variables) as process:
            assert wait_until(
                lambda: len(store.list("_parts/method=rise/")) >= 1, process, limit_s=LIMIT_S
            )
            victim = workers_of(process)[0]
            os.kill(victim, signal.SIGKILL)
            output, _ = process.communicate(timeout=LIMIT_S)
            assert process.returncode == 0, output
        assert {row["status"] for row in every_row_once(out, 16)} == {"ok"}
        published = read_manifest(store)
        assert published is not None
        assert published.rows == 32
        assert published.counts == {"ok": 32}
    finally:
        server.stop()
