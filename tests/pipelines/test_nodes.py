"""Jobs on several Ray nodes of this machine, one of which is lost."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from xaiserve.storage.dataset import read_rows
from xaiserve.storage.opening import open_store
from xaiserve.testing.jobs import job_process, wait_until, write_images, write_model

pytestmark = [
    pytest.mark.multinode,
    pytest.mark.slow,
    # Ray's nodes leave the sockets with which they look for free ports to the collector.
    pytest.mark.filterwarnings(
        "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"
    ),
    pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning"),
]

IMAGES = 12
NODES = 3
LIMIT_S = 120.0

QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""A dead node is known in seconds; Ray's own settings take fifteen."""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without CPUs and nodes of one CPU each."""
    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "include_dashboard": False,
            "object_store_memory": 100 << 20,
            "_system_config": QUICK_TO_NOTICE,
        },
    )
    try:
        for _ in range(NODES):
            made.add_node(num_cpus=1, object_store_memory=100 << 20)
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
    finally:
        ray.shutdown()
        made.shutdown()
        gc.collect()


def busy_node(cluster: Cluster) -> object:
    """A node whose only CPU is taken by a worker of the job."""
    free = ray._private.state.available_resources_per_node()
    return next(n for n in cluster.worker_nodes if not free.get(n.node_id, {}).get("CPU"))


def test_a_job_finishes_after_a_node_is_lost(cluster: Cluster, tmp_path: Path):
    images, model = write_images(tmp_path / "images", IMAGES), write_model(tmp_path / "model")
    out = tmp_path / "out"
    job = [
        *("explain", "--images", str(images), "--model", f"toy={model}", "--out", str(out)),
        *("--methods", "rise", "--set", "rise.samples=20000", "--tasks-per-part", "2"),
        *("--workers", "2", "--threads", "1"),
    ]
    with job_process(job, {"RAY_ADDRESS": cluster.address}) as process:
        begun = wait_until(lambda: any(out.glob("method=rise/*")), process, limit_s=LIMIT_S)
        assert begun, process.communicate()[0]
        cluster.remove_node(busy_node(cluster), allow_graceful=False)
        output, _ = process.communicate(timeout=LIMIT_S)

    assert process.returncode == 0, output
    rows = read_rows(open_store(str(out)), ["row_id", "status"]).to_pylist()
    assert sorted(row["row_id"] for row in rows) == sorted(f"image-{n}" for n in range(IMAGES))
    assert {row["status"] for row in rows} == {"ok"}
