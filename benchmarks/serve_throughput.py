"""``serve-throughput``: predicts over HTTP beside the same model called directly.

32 clients ask without a pause, each for its own small picture. The model takes 20 ms per batch and
no CPU, so that what is measured is what the service loses: the images per second that it reached
over those of the model called again and again at the batch size that the service has reached. CPU
per request is that of all of the service's processes, without the clients'. Beside it the real
MobileNetV2, over its own bare speed.

Clients are elsewhere in life. Here they have the same two cores, and Ray's workers would give way
to them: `NICENESS` makes them equals.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, quantiles
from typing import Any, Final, NamedTuple

import aiohttp
import numpy as np
import psutil

from benchmarks.bare import best_way
from benchmarks.common import DATA, MOBILENET, Report, need_data, report
from benchmarks.fixed_latency import LATENCY_S, NOTES, SIDE
from benchmarks.serving import served
from xaiserve.serve.running import RunningService
from xaiserve.storage.pictures import encode_png

BAR: Final = 0.8
CLIENTS: Final = 32
SECONDS: Final = 20.0
SECONDS_QUICK: Final = 5.0
NICENESS: Final = "RAY_worker_niceness"
"""Ray's variable: how far its workers stand back behind other programs, 15 unless set."""

WARM_UP_S: Final = 2.0
THREADS: Final = 2
FLOOR_S: Final = 2.0


class Load(NamedTuple):
    """What the clients saw, and what it cost."""

    per_second: float
    seconds: list[float]
    cpu_ms: float


def run(quick: bool) -> Report:
    """Load the service for 20 seconds per model (``quick``: 5, the first model alone)."""
    seconds = SECONDS_QUICK if quick else SECONDS
    os.environ[NICENESS] = "0"  # noqa: TID251 -- Ray's processes inherit it
    found, batch = _fixed(seconds)
    direct = batch / LATENCY_S
    figures: dict[str, Any] = {  # Any: figures
        "clients": CLIENTS,
        "batch_reached": round(batch, 2),
        "direct_per_second": round(direct, 1),
        **_told(found),
    }
    if not quick:
        need_data()
        figures["mobilenet"] = _mobilenet(seconds)
    ratio = found.per_second / direct
    return report(round(ratio, 3), BAR, holds=ratio >= BAR, figures=figures)


def _told(load: Load) -> dict[str, float]:
    cuts = quantiles(load.seconds, n=100)
    return {
        "per_second": round(load.per_second, 1),
        "p50_ms": round(cuts[49] * 1e3, 1),
        "p99_ms": round(cuts[98] * 1e3, 1),
        "cpu_ms_per_request": round(load.cpu_ms, 2),
    }


def _fixed(seconds: float) -> tuple[Load, float]:
    """Load the model of fixed latency; return also the rows of its mean batch."""
    values = np.random.default_rng(0).integers(0, 256, (CLIENTS, SIDE, SIDE, 3), np.uint8)
    pictures = [encode_png(picture) for picture in values]
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "batches"
        os.environ[NOTES] = str(notes)  # noqa: TID251 -- replicas inherit it
        model = {"source": "benchmarks.fixed_latency:make", "trust_code": True, "cpus": 1}
        with served({"model": model}) as service:
            asyncio.run(_loaded(service, pictures, WARM_UP_S))
            begun = time.monotonic()
            load = asyncio.run(_loaded(service, pictures, seconds))
        rows = [line.split() for line in notes.read_text().splitlines()]
    batches = [int(count) for when, count in rows if begun <= float(when) <= begun + seconds]
    return load, mean(batches)


def _mobilenet(seconds: float) -> dict[str, Any]:  # Any: figures
    onnx = MOBILENET / "model.onnx"
    sample = sorted((DATA / "imagenet_sample" / "images").iterdir())[:CLIENTS]
    bare, _ = best_way(onnx, THREADS, seconds=FLOOR_S / 4)
    before = bare.speed(FLOOR_S).wall
    with served({"model": {"source": str(onnx), "cpus": THREADS}}) as service:
        pictures = [file.read_bytes() for file in sample]
        asyncio.run(_loaded(service, pictures, WARM_UP_S))
        load = asyncio.run(_loaded(service, pictures, seconds))
    speed = (before + bare.speed(FLOOR_S).wall) / 2
    return {"bare_per_second": round(speed, 1), **_told(load)}


async def _loaded(service: RunningService, pictures: Sequence[bytes], seconds: float) -> Load:
    waits: list[float] = []
    connector = aiohttp.TCPConnector(limit=CLIENTS)
    async with aiohttp.ClientSession(connector=connector) as session:
        spent, begun = _service_cpu_s(), time.perf_counter()

        async def ask(picture: bytes) -> None:
            while time.perf_counter() - begun < seconds:
                asked = time.perf_counter()
                async with session.post(
                    f"{service.url}/v1/predict?model=model",
                    data=picture,
                    headers={"Content-Type": "image/png"},
                ) as answer:
                    await answer.read()
                    answer.raise_for_status()
                waits.append(time.perf_counter() - asked)

        await asyncio.gather(*(ask(pictures[i % len(pictures)]) for i in range(CLIENTS)))
        took = time.perf_counter() - begun
        spent = _service_cpu_s() - spent
    return Load(len(waits) / took, waits, 1e3 * spent / len(waits))


def _service_cpu_s() -> float:
    """Add up the CPU time of every process that this one has started."""
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        times = process.cpu_times()
        total += times.user + times.system
    return total
