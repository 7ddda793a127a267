"""A job handed to a running cluster, from the command line to its rows."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from xaiserve.storage.dataset import read_rows
from xaiserve.testing.jobs import write_images, write_model

pytestmark = [pytest.mark.ray, pytest.mark.slow]

CLUSTER = """
import socket, ray
with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
context = ray.init(
    address="local", num_cpus=4, include_dashboard=True, dashboard_port=port, log_to_driver=False
)
print("http://" + context.dashboard_url, flush=True)
input()
ray.shutdown()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster's job server; the cluster ends with its process."""
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate("\n", timeout=60)


def xaiserve(*words):
    ended = subprocess.run(
        [sys.executable, "-m", "xaiserve", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_a_submitted_job_can_be_followed_asked_after_and_read(cluster, tmp_path):
    model, out = write_model(tmp_path / "model"), tmp_path / "out"
    images = write_images(tmp_path / "images", 4)
    code, job, told = xaiserve(
        *("submit", "explain", "--images", images, "--model", f"toy={model}"),
        *("--methods", "occlusion", "--set", "cells=4", "--out", out),
        *("--address", cluster, "--upload", "--wait"),
    )
    assert code == 0, told
    assert "4 rows in" in told
    job = job.strip()
    uris = read_rows(out, ["image_uri"]).column("image_uri").to_pylist()
    assert all(uri.startswith(f"{out}/_uploads/") for uri in uris)

    code, text, _ = xaiserve("status", job, "--address", cluster, "--json")
    (found,) = json.loads(text)
    assert (code, found["state"], found["progress"]["done"]) == (0, "SUCCEEDED", 4)
    code, text, _ = xaiserve("status", "--address", cluster)
    assert code == 0
    assert f"{job}  SUCCEEDED  done: 4/4 explanations" in text
    for words in ([], ["--follow"]):
        code, text, _ = xaiserve("logs", job, "--address", cluster, *words)
        assert code == 0
        assert "4 rows in" in text


@pytest.mark.parametrize("words", [["status"], ["logs"], ["logs", "--follow"]])
def test_a_job_that_the_cluster_does_not_know_is_told_in_a_sentence(cluster, words):
    code, _, told = xaiserve(*words, "no-such-job", "--address", cluster)
    assert code == 2
    assert told.strip().startswith("xaiserve: job 'no-such-job' does not exist")
