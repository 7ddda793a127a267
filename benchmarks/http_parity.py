"""``http-parity``: the service returns the masks that the same call returns in process.

A real service on a local Ray explains images of the ImageNet sample, several at a time; this
process explains the same files by `xaiserve.explain`, one after the other. Masks, confidences and
maps must agree bit for bit. Then one picture is scored over HTTP and here in turn: the difference
of the medians is what HTTP, two hops and JSON add.
"""

import base64
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import httpx
import torch

from benchmarks.common import DATA, MOBILENET, Report, interleaved, need_data, report, spread
from xaiserve.api import explain, load_case
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.multirex import MultiRex, MultiRexExplanation
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.serve.config import ServiceConfig, make_config
from xaiserve.serve.running import start_service
from xaiserve.storage.rle import rle_to_mask

BAR: Final = 1.0
PREDICTS: Final = 50
WARM_UP: Final = 5
AT_A_TIME: Final = 4
THREADS: Final = 2
FULL: Final = MultiRex(iterations=4, chunk=100, spotlights=4, budget=5)
QUICK: Final = MultiRex(iterations=1, chunk=400, spotlights=3, budget=2)

Body = dict[str, Any]  # Any: JSON


def run(quick: bool) -> Report:
    """Compare 20 images (``quick``: 2, with a shorter search), then 50 predicts."""
    need_data()
    files = _files(2 if quick else 20)
    explainer = QUICK if quick else FULL
    model = load_classifier(MOBILENET / "model.onnx", threads=THREADS)
    began = time.perf_counter()
    service = start_service(_config())
    start_s = time.perf_counter() - began
    try:
        with httpx.Client(base_url=service.url, timeout=600) as client:
            served = _served(client, files, explainer)
            latency = _latency(client, model, files[0])
    finally:
        service.stop()
    cases = [load_case(file, model) for file in files]
    here = explain(explainer, model, cases)
    same = [_same(body, found) for body, found in zip(served, here, strict=True)]
    value = sum(same) / len(same)
    figures = {
        "images": len(files),
        "sets": sum(len(body["explanations"]) for body in served),
        "at_a_time": AT_A_TIME,
        "threads": THREADS,
        "start_s": round(start_s, 1),
    }
    return report(value, BAR, holds=value == BAR, figures=figures | latency)


def _files(count: int) -> list[Path]:
    sample = DATA / "imagenet_sample"
    rows = json.loads((sample / "annotations.json").read_text())
    return [sample / row["image"] for row in rows[:count]]


def _config() -> ServiceConfig:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    model = {"source": str(MOBILENET / "model.onnx"), "cpus": THREADS}
    budget = {"seconds": 500, "max_seconds": 500}
    nothing_kept = {"cache_bytes": 0}
    served = {"models": {"mobilenet": model}, "budget": budget, "port": port}
    return make_config(served | {"answers": nothing_kept})


def _served(client: httpx.Client, files: list[Path], explainer: MultiRex) -> list[Body]:
    options = {
        "iterations": explainer.iterations,
        "chunk": explainer.chunk,
        "spotlights": explainer.spotlights,
        "budget": explainer.budget,
    }

    def ask(file: Path) -> Body:
        answer = client.post(
            "/v1/explain",
            params={"model": "mobilenet", "method": "multirex", "saliency": True, **options},
            files={"image": file.read_bytes()},
        )
        answer.raise_for_status()
        body: Body = answer.json()
        return body

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(ask, files))


def _same(body: Body, here: Explanation) -> bool:
    """Say whether an answer and an explanation agree in every mask, number and map value."""
    assert isinstance(here, MultiRexExplanation)  # noqa: S101 -- it is what was asked for
    sets = body["explanations"]
    return (
        body["target"]["index"] == here.target
        and len(sets) == len(here.explanations)
        and all(
            torch.equal(rle_to_mask(one["mask"]), found.mask)
            and one["confidence"] == found.confidence
            for one, found in zip(sets, here.explanations, strict=True)
        )
        and tuple(body["selected"]) == here.selected
        and base64.b64decode(body["saliency"]["data"]) == here.saliency.numpy().tobytes()
    )


def _latency(client: httpx.Client, model: LoadedClassifier, file: Path) -> Body:
    data = file.read_bytes()

    def over_http() -> float:
        began = time.perf_counter()
        client.post("/v1/predict?model=mobilenet", files={"image": data}).raise_for_status()
        return (time.perf_counter() - began) * 1e3

    def in_process() -> float:
        began = time.perf_counter()
        load_case(data, model)
        return (time.perf_counter() - began) * 1e3

    interleaved(over_http, in_process, WARM_UP)
    http_ms, here_ms = interleaved(over_http, in_process, PREDICTS)
    http, here = spread(http_ms), spread(here_ms)
    return {
        "predicts": PREDICTS,
        "predict_http_ms": http,
        "predict_here_ms": here,
        "added_latency_ms": round(http["median"] - here["median"], 2),
    }
