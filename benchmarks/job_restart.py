"""``job-restart``: rows of a job whose worker is killed, and which is itself killed and run again.

A generated data set and a tiny model; what is counted does not depend on either. The first run
loses one of its two workers in the middle, and is killed itself a little later; the second run is
left alone. Every image and method must then have one row, and no more.
"""

import json
import os
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Final

from benchmarks.common import Report, report
from xaiserve.storage.dataset import read_rows
from xaiserve.testing.jobs import job_process, wait_until, workers_of, write_images, write_model

METHODS: Final = ("occlusion", "rise")
IMAGES: Final = 64
IMAGES_QUICK: Final = 8
TASKS_PER_PART: Final = 2
SAMPLES: Final = 20_000
SAMPLES_QUICK: Final = 6_000
"""RISE masks per image: enough that a worker can be killed in the middle."""

LIMIT_S: Final = 600.0


def run(quick: bool) -> Report:
    """Break a job twice; ``quick`` does it with fewer images."""
    images = IMAGES_QUICK if quick else IMAGES
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        out = home / "out"
        job = _job(home, images, SAMPLES_QUICK if quick else SAMPLES, out)
        started = time.perf_counter()
        first = _broken_run(job, out)
        broken_s = time.perf_counter() - started
        with job_process(job) as process:
            output, _ = process.communicate(timeout=LIMIT_S)
        rows = read_rows(out, ["row_id", "method", "status"]).to_pylist()
        files = len(list(out.glob("method=*/*.parquet")))
        progress = json.loads((out / "_progress.json").read_text())
    counts = Counter((row["row_id"], row["method"]) for row in rows)
    expected = images * len(METHODS)
    return report(
        len(rows),
        expected,
        holds=process.returncode == 0
        and len(rows) == expected == len(counts)
        and {row["status"] for row in rows} == {"ok"},
        figures={
            "images": images,
            "methods": list(METHODS),
            "rows_lost": expected - len(counts),
            "rows_twice": len(rows) - len(counts),
            "rows_before_the_driver_died": progress["resumed"],
            "parts_before_the_driver_died": first,
            "files": files,
            "broken_run_s": round(broken_s, 1),
            "second_run_s": round(progress["seconds"], 1),
            "last_line": output.strip().splitlines()[-1],
        },
    )


def _job(home: Path, images: int, samples: int, out: Path) -> list[str]:
    model, manifest = write_model(home / "model"), write_images(home / "images", images)
    return [
        *("explain", "--images", str(manifest), "--model", f"toy={model}", "--out", str(out)),
        *("--methods", ",".join(METHODS), "--set", f"rise.samples={samples}"),
        *("--tasks-per-part", str(TASKS_PER_PART), "--workers", "2", "--threads", "1"),
    ]


def _broken_run(job: list[str], out: Path) -> int:
    """Run a job, kill a worker and then the driver; return the number of parts it left."""

    def parts() -> int:
        return len(list(out.glob("_parts/*/*.parquet")))

    with job_process(job) as process:
        middle = wait_until(lambda: any(out.glob("_parts/method=rise/*")), process, limit_s=LIMIT_S)
        if not middle:
            raise RuntimeError(
                f"the job ended before it could be broken: {process.communicate()[0]}"
            )
        os.kill(workers_of(process)[0], signal.SIGKILL)
        seen = parts()
        wait_until(lambda: parts() > seen, process, limit_s=LIMIT_S)
    return parts()
