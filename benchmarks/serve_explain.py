"""``serve-explain``: MultiReX through HTTP beside the same searches in this process.

MobileNetV2, preset ``fast``, photographs of the ImageNet sample. 16 clients ask at a time; in this
process 16 searches are in flight on one engine. The model inputs are the same, so that rows per
second compare; half of the images are explained here before the service, half after it.
"""

import json
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import httpx

from benchmarks.common import DATA, MOBILENET, Report, need_data, report
from benchmarks.serving import served
from xaiserve.api import load_case, start
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Ticket

BAR: Final = 0.85
CLIENTS: Final = 16
IMAGES: Final = 64
IMAGES_QUICK: Final = 16
THREADS: Final = 2
OPTIONS: Final = {"preset": "fast"}
OPTIONS_QUICK: Final = {"preset": "fast", "iterations": "4", "pairs": "false", "prune": "false"}


class Side(NamedTuple):
    """Rows that the model scored, and seconds."""

    rows: int
    seconds: float


def run(quick: bool) -> Report:
    """Explain 64 images both ways (``quick``: 16, by shorter searches)."""
    need_data()
    options = OPTIONS_QUICK if quick else OPTIONS
    sample = DATA / "imagenet_sample"
    names = json.loads((sample / "annotations.json").read_text())
    files = [sample / row["image"] for row in names[: IMAGES_QUICK if quick else IMAGES]]
    half = len(files) // 2
    model = load_classifier(MOBILENET / "model.onnx", threads=THREADS)
    _here(model, files[:2], options)  # tuning and imports
    before = _here(model, files[:half], options)
    there = _through_http(files, options)
    after = _here(model, files[half:], options)
    here = Side(before.rows + after.rows, before.seconds + after.seconds)
    ratio = (there.rows / there.seconds) / (here.rows / here.seconds)
    return report(
        round(ratio, 3),
        BAR,
        holds=ratio >= BAR and there.rows == here.rows,
        figures={
            "images": len(files),
            "in_flight": CLIENTS,
            "model_inputs": {"http": there.rows, "here": here.rows},
            "rows_per_second": {
                "http": round(there.rows / there.seconds, 1),
                "here": [round(side.rows / side.seconds, 1) for side in (before, after)],
            },
            "threads": THREADS,
        },
    )


def _here(model: LoadedClassifier, files: Sequence[Path], options: dict[str, str]) -> Side:
    explainer = make_explainer("multirex", options)
    rows, flying = 0, deque[Ticket[Explanation]]()

    def next_done() -> int:
        ticket = flying.popleft()
        ticket.result()
        return ticket.cost.model_inputs

    started = time.perf_counter()
    with Engine(model) as engine:
        for file in files:
            if len(flying) == CLIENTS:
                rows += next_done()
            flying.append(start(engine, explainer, load_case(file, model)))
        while flying:
            rows += next_done()
    return Side(rows, time.perf_counter() - started)


def _through_http(files: Sequence[Path], options: dict[str, str]) -> Side:
    model = {"source": str(MOBILENET / "model.onnx"), "cpus": THREADS}
    queue = {"running": CLIENTS, "waiting": CLIENTS}
    params = {"model": "mobilenet", "method": "multirex", "overlay": "false", **options}
    with (
        served({"mobilenet": model}, queue=queue) as service,
        httpx.Client(base_url=service.url, timeout=500) as client,
        ThreadPoolExecutor(CLIENTS) as pool,
    ):

        def ask(file: Path) -> int:
            answer = client.post("/v1/explain", params=params, files={"image": file.read_bytes()})
            answer.raise_for_status()
            inputs: int = answer.json()["cost"]["model_inputs"]
            return inputs

        client.post(
            "/v1/predict", params={"model": "mobilenet"}, files={"image": files[0].read_bytes()}
        ).raise_for_status()
        started = time.perf_counter()
        rows = sum(pool.map(ask, files))
        return Side(rows, time.perf_counter() - started)
