"""The reference tool, ReX 0.4.1, as a peer: a process of its own environment that answers."""

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import numpy as np

from xaiserve.models.loaded import LoadedClassifier
from xaiserve.perturb.case import Case

ROOT: Final = Path(__file__).resolve().parents[1]
PYTHON: Final = ROOT / ".peers" / "rex" / "bin" / "python"
SCRIPT: Final = ROOT / "benchmarks" / "peers" / "rex_run.py"
RECORDED: Final = ROOT / "benchmarks" / "recorded" / "rex_0.4.1.jsonl"

OVERLAP: Final = 0.1
"""Largest Dice coefficient of two sets that count as different."""

Row = dict[str, Any]  # Any: JSON


class Rex:
    """The tool at work on one classifier; a context that ends its process.

    Parameters
    ----------
    onnx
        The classifier's file.
    threads
        Threads of onnxruntime and of torch.
    """

    def __init__(self, onnx: Path, threads: int) -> None:
        if not PYTHON.is_file():
            raise SystemExit(f"this benchmark needs the reference tool in {PYTHON}: make peer-rex")
        command = [str(PYTHON), "-W", "ignore", str(SCRIPT), str(onnx), str(threads)]
        self._process = subprocess.Popen(  # noqa: S603 -- our own script
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> "Rex":  # noqa: PYI034 -- run-time shape checks refuse Self
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.communicate()

    def explain(
        self, image: Path, *, batch: int, spotlights: int = 10, masks: Path | None = None
    ) -> Row:
        """Explain the model input in ``image``; see ``rex_run.py`` for the figures."""
        request = {
            "image": str(image),
            "batch": batch,
            "spotlights": spotlights,
            "masks": str(masks) if masks else None,
        }
        out, answers = self._process.stdin, self._process.stdout
        assert out is not None  # noqa: S101 -- both are pipes
        assert answers is not None  # noqa: S101
        out.write(json.dumps(request) + "\n")
        out.flush()
        line = answers.readline()
        if not line:
            raise RuntimeError(f"the reference tool ended with status {self._process.wait()}")
        told: Row = json.loads(line)
        return told


def write_input(case: Case, model: LoadedClassifier, folder: Path) -> Path:
    """Write what the model sees of a case, so that the tool sees the same."""
    file = folder / f"{case.image_id}.npy"
    np.save(file, model.spec.normalise(case.image.unsqueeze(0))[0].numpy())
    return file


def key_of(case: Case, model: LoadedClassifier) -> str:
    """Name the row of an image and a classifier: the heads of their digests."""
    return f"{model.digest[:16]}/{case.image_id[:16]}"


def recorded() -> dict[str, Row]:
    """Read the rows that were recorded, by key; their searches ran with seed 0 and batch 16."""
    lines = RECORDED.read_text().splitlines() if RECORDED.is_file() else []
    return {row["key"]: row for row in map(json.loads, lines)}
