"""``autoscale``: seconds from no worker to two when a job is submitted, and back when it has ended.

Ray's fake provider starts nodes as processes of this machine, so that what is measured is the
decision and Ray's own start, not a cloud's machines. Workers leave after `IDLE_S` without work.
"""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from benchmarks.common import Report, report
from xaiserve.pipelines import explain
from xaiserve.pipelines.cluster import Placement
from xaiserve.testing.autoscaling import growing_cluster, wait_for, workers
from xaiserve.testing.jobs import write_images, write_model

WORKERS: Final = 2
IMAGES: Final = 64
IMAGES_QUICK: Final = 8
IDLE_S: Final = 6.0
LIMIT_S: Final = 300.0


def run(quick: bool) -> Report:
    """Run one job on a cluster of none; ``quick`` does it with fewer images."""
    images = IMAGES_QUICK if quick else IMAGES
    with growing_cluster({"CPU": 1}, WORKERS, idle_s=IDLE_S), tempfile.TemporaryDirectory() as name:
        home = Path(name)
        config = explain.Config(
            images=str(write_images(home / "images", images)),
            out=str(home / "out"),
            model="toy",
            model_source=str(write_model(home / "model")),
            methods=("occlusion",),
        )
        before = workers()
        with ThreadPoolExecutor(1) as thread:
            job = thread.submit(explain.run, config, Placement(workers=WORKERS, threads=1))
            up_s = wait_for(lambda: workers() == WORKERS or job.done(), limit_s=LIMIT_S)
            totals = job.result(LIMIT_S).totals
        most = workers()
        down_s = wait_for(lambda: workers() == 0, limit_s=LIMIT_S)
    return report(
        round(up_s, 1),
        None,
        holds=(before, most) == (0, WORKERS) and (totals.rows, totals.failed) == (images, 0),
        figures={
            "workers": [before, most, 0],
            "up_s": round(up_s, 1),
            "down_s": round(down_s, 1),
            "idle_s": IDLE_S,
            "rows": totals.rows,
            "failed": totals.failed,
        },
    )
