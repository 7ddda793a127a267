"""``job-manifest``: the driver of a job over a large manifest with an almost free model.

The manifest names few pictures again and again, the model is tiny and the method asks five
questions per image, so that what is measured is all that is not the model. Memory is the driver's
resident set, sampled from before the manifest is read to the published data set, above what it is
when libraries and model are loaded.
"""

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.common import Report, report
from xaiserve.pipelines.cluster import Placement
from xaiserve.pipelines.dataset import plan_job
from xaiserve.pipelines.explain import AsItIs, Config
from xaiserve.pipelines.explain import run as run_explain
from xaiserve.pipelines.progress import Progress
from xaiserve.serve.config import prepare_environment
from xaiserve.storage.dataset import read_manifest
from xaiserve.storage.opening import open_store
from xaiserve.testing.jobs import write_images, write_model

ROWS: Final = 100_000
ROWS_QUICK: Final = 3_000
PICTURES: Final = 64
WORKERS: Final = 2
BAR_MIB: Final = 300.0

_MIB: Final = 1 << 20
_SAMPLE_S: Final = 0.05


def run(quick: bool) -> Report:
    """Run one job; ``quick`` has fewer rows."""
    prepare_environment()
    rows = ROWS_QUICK if quick else ROWS
    told: list[Progress] = []
    with tempfile.TemporaryDirectory() as folder:
        config = job_config(Path(folder), rows)
        plan_job(job_config(Path(folder), 10), AsItIs())
        with _resident() as memory:
            placement = Placement(cpus=WORKERS, workers=WORKERS)
            totals = run_explain(config, placement, told.append).totals
        published = read_manifest(open_store(config.out))
    assert published is not None, "run returns when the data set is published"  # noqa: S101
    growth = (max(memory) - memory[0]) / _MIB
    last = told[-1]
    return report(
        round(growth, 1),
        f"< {BAR_MIB:g} MiB",
        holds=growth < BAR_MIB and (totals.rows, totals.failed) == (rows, 0),
        figures={
            "rows": rows,
            "rows_per_second": None if last.per_second is None else round(last.per_second, 1),
            "seconds": round(last.seconds, 1),
            "driver_mib_before": round(memory[0] / _MIB, 1),
            "driver_mib_most": round(max(memory) / _MIB, 1),
            "calls_of_workers": last.parts + len(published.files),
            "rows_per_call": round(rows / last.parts, 1),
            "files": [round(file.size / _MIB, 1) for file in published.files],
            "workers": WORKERS,
        },
    )


def job_config(home: Path, rows: int) -> Config:
    """Write pictures, a manifest of so many rows and a model below ``home``: a job of them."""
    write_images(home / "images", PICTURES)
    manifest = home / f"{rows}.jsonl"
    with manifest.open("w", encoding="utf-8") as file:
        for row in range(rows):
            record = {"id": f"row-{row}", "uri": f"images/{row % PICTURES:03d}.png"}
            file.write(json.dumps(record) + "\n")
    return Config(
        images=str(manifest),
        out=str(home / "out"),
        model="toy",
        model_source=str(write_model(home / "model")),
        methods=("occlusion",),
        options={"occlusion": {"cells": "2"}},
    )


@contextmanager
def _resident() -> Iterator[list[int]]:
    """Sample this process's resident bytes, the first before anything."""
    found, ended = [_now()], threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_S):
            found.append(_now())

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def _now() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
