"""Dataset jobs under test: a data set and a model with a known answer, and processes to kill.

The model scores class 1, ``light``, by the brightness of the brightest 8 x 8 cell; every picture is
dark but for one such cell, which is its ground truth. Jobs run as processes of their own, so that
what is killed is what would die in earnest.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import psutil
from onnx import TensorProto, helper, numpy_helper
from PIL import Image as PillowImage

SIDE: Final = 32
CELL_PX: Final = 8
MANIFEST: Final = "manifest.jsonl"
WORKER: Final = "ray::Worker"
"""What the titles of a job's working processes begin with."""

_CELLS: Final = (SIDE // CELL_PX) ** 2
_SPEC: Final = {
    "height": SIDE,
    "width": SIDE,
    "channels": 1,
    "value_range": [0, 1],
    "mean": [0],
    "std": [1],
    "resize": {"mode": "exact", "resample": "bilinear"},
    "labels": ["dark", "light"],
    "activation": "softmax",
}


def write_model(folder: Path) -> Path:
    """Write the model as ONNX with its specification; return ``folder``."""
    nodes = [
        helper.make_node("AveragePool", ["x"], ["cells"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("GlobalMaxPool", ["cells"], ["top"]),
        helper.make_node("Flatten", ["top"], ["one"]),
        helper.make_node("Mul", ["one", "eight"], ["lit"]),
        helper.make_node("Sub", ["four", "lit"], ["dark"]),
        helper.make_node("Concat", ["dark", "lit"], ["y"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "brightest",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [
            numpy_helper.from_array(np.array([[number]], np.float32), name)
            for name, number in {"eight": 8.0, "four": 4.0}.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, folder / "model.onnx")
    (folder / "xaiserve.json").write_text(json.dumps(_SPEC), encoding="utf-8")
    return folder


def write_images(folder: Path, count: int) -> Path:
    """Write distinct pictures, a mask for each, and a manifest; return the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for index in range(count):
        mask = cell_mask(index)
        # The grey levels tell apart the pictures that are lit in the same place.
        picture = np.where(mask, 230, 20 + index // _CELLS).astype(np.uint8)
        PillowImage.fromarray(picture).save(folder / f"{index:03d}.png")
        PillowImage.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{index:03d}-mask.tif")
        files = {"uri": f"{index:03d}.png", "mask": f"{index:03d}-mask.tif"}
        lines.append(json.dumps({"id": f"image-{index}", "label": "light"} | files))
    (folder / MANIFEST).write_text("\n".join(lines), encoding="utf-8")
    return folder / MANIFEST


def cell_mask(index: int) -> "np.typing.NDArray[np.bool_]":
    """Return the ground truth of picture ``index``, (32, 32)."""
    row, column = (CELL_PX * place for place in divmod(index % _CELLS, SIDE // CELL_PX))
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[row : row + CELL_PX, column : column + CELL_PX] = True
    return mask


@contextmanager
def job_process(
    arguments: Sequence[str], variables: Mapping[str, str] | None = None
) -> "Iterator[subprocess.Popen[str]]":
    """Run ``xaiserve submit ARGUMENTS --local`` as a process that leaves none behind."""
    environment = dict(os.environ)  # noqa: TID251 -- passed on
    environment.pop("RAY_ADDRESS", None)
    process = subprocess.Popen(  # noqa: S603 -- our own command
        [sys.executable, "-m", "xaiserve", "submit", *arguments, "--local"],
        env=environment | dict(variables or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        try:
            if process.poll() is None:
                kill_driver(process)
        finally:
            process.communicate()


def wait_until(
    happened: Callable[[], bool], process: "subprocess.Popen[str]", *, limit_s: float
) -> bool:
    """Wait until something has happened while ``process`` runs; say whether it has.

    Raises
    ------
    TimeoutError
        Neither it nor the end of the process has come within ``limit_s`` seconds.
    """
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if happened():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.1)
    raise TimeoutError(f"nothing has happened for {limit_s:g} s")


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    """List the processes that explain for a job."""
    return [pid for pid in descendants(process.pid) if WORKER in title(pid)]


def kill_driver(process: "subprocess.Popen[str]") -> None:
    """Kill a job's driver, wait until its workers have followed it, and end what is left of Ray.

    Raises
    ------
    TimeoutError
        A worker is still there after 30 seconds.
    """
    # Not numbers: a busy machine has given them to others by the time that workers have ended.
    family = psutil.Process(process.pid).children(recursive=True)
    workers = [each for each in family if WORKER in title(each.pid)]
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(workers, timeout=30)
    if left:
        raise TimeoutError(f"{len(left)} workers outlive their driver: {left}")
    for each in family:  # Ray's agents take minutes to notice
        with suppress(psutil.NoSuchProcess):
            each.kill()


def descendants(pid: int) -> list[int]:
    """List the processes that a process has started, and those that they have."""
    try:
        return [each.pid for each in psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def processes_with(variable: str) -> list[int]:
    """List the processes that inherited ``NAME=value`` in their environment."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if variable.encode() in environment.read_bytes().split(b"\0"):
                found.append(int(environment.parent.name))
    return found


def title(pid: int) -> str:
    """Return a process's command line, empty of one that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""
