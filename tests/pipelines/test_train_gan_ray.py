"""A contrast GAN trained by the command, on a Ray of its own: run, killed and run again."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from safetensors.torch import load_file

from xaiserve.gan.checkpoints import PREFIX
from xaiserve.gan.translator import CONFIG
from xaiserve.testing.gans import write_squares
from xaiserve.testing.jobs import descendants, kill_driver, wait_until

pytestmark = [pytest.mark.ray, pytest.mark.slow]

LIMIT_S = 300.0
SETTINGS = {
    "side": 64,
    "width": 4,
    "depth": 1,
    "critic_width": 1,
    "fold": 8,
    "batch": 4,
    "critic_steps": 2,
    "norm": "batch",
}


@contextmanager
def training(folders, out, *more):
    words = ["train", "contrast-gan", "--out", str(out), "--threads", "1", "--json"]
    words += [word for folder in folders for word in ("--images", folder)]
    words += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    process = subprocess.Popen(
        [sys.executable, "-m", "xaiserve", *words, "--checkpoint-s", "0.01", *more],
        # Ray makes its workers nice by 15, which on a busy machine is never.
        env=os.environ | {"RAY_worker_niceness": "0"},  # noqa: TID251 -- passed on
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            kill_driver(process)
        process.communicate()


def ended(folders, out, *more):
    with training(folders, out, *more) as process:
        output, errors = process.communicate(timeout=LIMIT_S)
        return process.returncode, output, errors


def steps_saved(out):
    found = [int(path.stem.rpartition("-")[2]) for path in (out / PREFIX).parent.glob("step-*.pt")]
    return max(found, default=0)


def trainers_of(process):
    """List the processes that do the steps of a training."""
    return [pid for pid in descendants(process.pid) if "RayTrainWorker" in title(pid)]


def title(pid):
    with suppress(OSError):  # it may have ended
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def same_weights(one, other):
    first, second = (load_file(folder / "model.safetensors") for folder in (one, other))
    return first.keys() == second.keys() and all(
        bool((first[name] == second[name]).all()) for name in first
    )


def test_a_killed_training_goes_on_to_the_weights_of_one_that_was_not(tmp_path):
    folders, whole, parts = write_squares(tmp_path), tmp_path / "whole", tmp_path / "parts"
    code, output, errors = ended(folders, whole, "--epochs", "30")
    assert code == 0, errors
    assert json.loads(output)["steps"] == 60

    with training(folders, parts, "--epochs", "30") as process:
        assert wait_until(lambda: steps_saved(parts) >= 10, process, limit_s=LIMIT_S)
    before = steps_saved(parts)
    assert 10 <= before < 60
    assert not (parts / CONFIG).exists()

    with training(folders, parts, "--epochs", "30") as process:
        assert wait_until(lambda: steps_saved(parts) >= before + 5, process, limit_s=LIMIT_S)
        for pid in trainers_of(process):
            os.kill(pid, signal.SIGKILL)
        output, errors = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, errors
    assert json.loads(output)["steps"] == 60
    assert same_weights(whole, parts)

    code, output, errors = ended(folders, parts, "--epochs", "31")
    assert code == 2
    assert "holds a training with other options" in errors


def test_two_workers_share_every_batch_and_agree_on_the_end(tmp_path):
    folders, out = write_squares(tmp_path), tmp_path / "out"
    code, output, errors = ended(folders, out, "--workers", "2", "--epochs", "10")
    assert code == 0, errors
    found = json.loads(output)
    assert (found["steps"], found["ended"]) == (20, "epochs")
