"""``job-overhead``: throughput of a data set job over that of the engine in this process.

Occlusion 8 x 8 with MobileNetV2 on photographs of the ImageNet sample, named as often as needed in
a manifest. The job is a process of its own, `xaiserve submit explain --local` with its defaults:
its images over the seconds from the reading of its input to its last published row; start-up is
told beside. In this process the same files are read and explained with many in flight on the same
cores, one half before the job and the other after it, so that a drift of the machine hits both.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from benchmarks.common import DATA, MOBILENET, Report, need_data, report
from xaiserve.api import load_case, outcomes
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.testing.jobs import job_process

BAR: Final = 0.85
IMAGES: Final = 600
IMAGES_QUICK: Final = 32
THREADS: Final = 2
LIMIT_S: Final = 3000.0


def run(quick: bool) -> Report:
    """Explain 600 images both ways (``quick``: 32, of which start and end are a large part)."""
    need_data()
    files = _files(IMAGES_QUICK if quick else IMAGES)
    model = load_classifier(MOBILENET / "model.onnx", threads=THREADS)
    half = len(files) // 2
    _seconds_here(model, files[:4])  # tuning and imports
    before = _seconds_here(model, files[:half])
    whole_s, progress = _job(files)
    after = _seconds_here(model, files[half:])
    here = len(files) / (before + after)
    there = len(files) / progress["seconds"]
    return report(
        round(there / here, 3),
        BAR,
        holds=there / here >= BAR,
        figures={
            "images": len(files),
            "model_inputs": progress["model_inputs"],
            "images_per_second": {"job": round(there, 2), "engine": round(here, 2)},
            "engine_halves": [round(half / before, 2), round((len(files) - half) / after, 2)],
            "whole_process_s": round(whole_s, 1),
            "job_s": round(progress["seconds"], 1),
            "ratio_with_start_up": round(len(files) / whole_s / here, 3),
            "threads": THREADS,
        },
    )


def _files(count: int) -> list[Path]:
    sample = DATA / "imagenet_sample"
    rows = json.loads((sample / "annotations.json").read_text())
    names = [sample / row["image"] for row in rows]
    return [names[index % len(names)] for index in range(count)]


def _seconds_here(model: LoadedClassifier, files: Sequence[Path]) -> float:
    explainer = make_explainer("occlusion", {"cells": "8"})

    def cases() -> Iterator[Case]:
        for file in files:
            yield load_case(file, model)

    started = time.perf_counter()
    with Engine(model) as engine:
        for outcome in outcomes(explainer, engine, cases()):
            if outcome.error is not None:
                raise outcome.error
    return time.perf_counter() - started


def _job(files: Sequence[Path]) -> tuple[float, dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        manifest, out = Path(folder) / "manifest.jsonl", Path(folder) / "out"
        lines = [json.dumps({"id": str(i), "uri": str(file)}) for i, file in enumerate(files)]
        manifest.write_text("\n".join(lines), encoding="utf-8")
        words = [
            *("explain", "--images", str(manifest), "--methods", "occlusion"),
            *("--model", f"mobilenet={MOBILENET / 'model.onnx'}", "--out", str(out)),
            *("--set", "occlusion.cells=8"),
        ]
        started = time.perf_counter()
        with job_process(words) as process:
            output, _ = process.communicate(timeout=LIMIT_S)
        seconds = time.perf_counter() - started
        if process.returncode:
            raise RuntimeError(output)
        return seconds, json.loads((out / "_progress.json").read_text())
