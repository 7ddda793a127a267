"""A sweep by the command, whose best parameter is known by construction."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import ray

from xaiserve.pipelines.sweep import BEST
from xaiserve.storage.local import LocalStore
from xaiserve.storage.objects import exists
from xaiserve.storage.parquet import read_parquet
from xaiserve.storage.trials import TRIALS
from xaiserve.testing.jobs import write_images

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture(scope="module")
def address(request):
    """The cluster of this module's tests, which outlives the sweeps that are killed on it."""
    with pytest.MonkeyPatch.context() as patch:
        # Ray makes its workers nice by 15, which on a busy machine is never.
        patch.setenv("RAY_worker_niceness", "0")
        request.getfixturevalue("cluster")
    return ray.get_runtime_context().gcs_address


def test_a_sweep_that_was_killed_finds_the_grid_of_the_pictures(model_folder, tmp_path, address):
    # Every picture has one lit cell of 4 x 4. Coarser grids spread the energy outside it; finer
    # ones keep it inside, as 4 does, for more model inputs.
    images = write_images(tmp_path / "images", 18)
    space, out = tmp_path / "space.yaml", tmp_path / "out"
    space.write_text("cells: {choice: [1, 2, 4, 8]}\n", encoding="utf-8")
    words = ["--space", space, "--objective", "energy", "--images", images, "--out", out]
    words += ["--model", f"toy={model_folder}", "--workers", "1", "--json", "--address", address]
    command = [sys.executable, "-m", "xaiserve", "tune", "occlusion", *map(str, words)]
    kept = killed_after_a_trial(command, LocalStore(out))

    process = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert process.returncode == 0, process.stderr
    assert f"running: {len(kept)}/4 trials" in process.stderr
    found = json.loads(process.stdout)
    assert found["best"]["parameters"] == {"cells": 4}
    assert found["best"]["value"] == 1.0

    table = read_parquet(LocalStore(out), TRIALS)
    assert table.to_pylist()[: len(kept)] == kept  # to the second that they took
    rows = {row["param_cells"]: row for row in table.to_pylist()}
    assert list(rows) == [8, 1, 2, 4]  # first the default
    assert [rows[cells]["status"] for cells in rows] == ["done", "stopped", "stopped", "done"]
    assert [rows[cells]["images"] for cells in rows] == [18, 8, 8, 18]
    assert rows[4]["model_inputs"] == 18 * (16 + 1 + 1)
    assert rows[2]["value"] == pytest.approx(0.25)
    assert not [name for name in LocalStore(out).list() if name.startswith(".ray")]

    preset = json.loads((out / "best.json").read_text(encoding="utf-8"))
    assert (preset["method"], preset["parameters"]["cells"]) == ("occlusion", 4)


def killed_after_a_trial(command, store):
    """Run a sweep until the first of its trials has ended; return the rows there are then."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 240
        while not exists(store, TRIALS):
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    rows = read_parquet(store, TRIALS).to_pylist()
    assert 0 < len(rows) < 4
    assert not exists(store, BEST)
    return rows
