"""A Ray cluster on this machine whose workers come and go as an autoscaler decides."""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import ray
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

from xaiserve.serve.running import check_port

PORT: Final = 6379
"""Ray's fake provider starts workers that look for the head there: one such cluster at a time."""

_PROVIDER: Final = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
_HEAD: Final = "ray.head.default"
"""The fake provider gives the head this type, whatever the configuration calls it."""

_START_S: Final = 90.0
_DRAIN_S: Final = 30.0


@contextmanager
def growing_cluster(
    resources: Mapping[str, float], most: int, *, idle_s: float = 6.0
) -> Iterator[None]:
    """Start a head without CPUs, connect to it, and end it with all its workers.

    Parameters
    ----------
    resources
        Of one worker, such as ``{"CPU": 2, "GPU": 1}``; no hardware is needed.
    most
        Workers at most.
    idle_s
        After so long without work a worker leaves.

    Raises
    ------
    InvalidInputError
        The port is taken.
    """
    check_port("127.0.0.1", PORT)
    with tempfile.TemporaryDirectory(prefix="xs-", dir="/tmp") as name:
        folder = Path(name)
        file = folder / "cluster.json"
        file.write_text(json.dumps(_config(resources, most, idle_s)))
        process = _start_head(file, folder)
        try:
            _connect(process, folder / "head.log")
            yield
        finally:
            ray.shutdown()
            _end(process)


def workers() -> int:
    """Count the nodes that are alive, without the head."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return sum(bool(node["Alive"]) for node in nodes) - 1


def wait_for(condition: Callable[[], bool], *, limit_s: float) -> float:
    """Wait until ``condition`` holds and return the seconds that it took.

    Raises
    ------
    TimeoutError
        It never held.
    """
    start = time.monotonic()
    while not condition():
        if time.monotonic() - start > limit_s:
            raise TimeoutError(f"not within {limit_s:g} s")
        time.sleep(0.1)
    return time.monotonic() - start


def _config(resources: Mapping[str, float], most: int, idle_s: float) -> dict[str, object]:
    return {
        "cluster_name": "fake",
        "max_workers": most,
        "idle_timeout_minutes": idle_s / 60,
        "upscaling_speed": 1.0,
        "provider": {
            "type": "external",
            "module": _PROVIDER,
            "launch_multiple": True,
            "head_node_id": FAKE_HEAD_NODE_ID,
        },
        "auth": {},
        "docker": {},
        "head_node_type": _HEAD,
        "available_node_types": {
            _HEAD: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": dict(resources), "node_config": {}, "max_workers": most},
        },
        "file_mounts": {},
        **{name: [] for name in _COMMANDS},
    }


_COMMANDS: Final = (
    *("cluster_synced_files", "initialization_commands", "setup_commands"),
    *("head_setup_commands", "worker_setup_commands"),
    *("head_start_ray_commands", "worker_start_ray_commands"),
)


def _start_head(config: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Start the head in a process group of its own: workers are started by it."""
    environment = os.environ | {  # noqa: TID251 -- Ray is told by the environment
        "RAY_AUTH_MODE": "disabled",
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    }
    with (folder / "head.log").open("wb") as log:
        return subprocess.Popen(  # noqa: S603 -- our own command
            [
                *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
                *(f"--port={PORT}", f"--autoscaling-config={config}", "--num-cpus=0"),
                *("--include-dashboard=false", f"--temp-dir={folder}"),
                f"--object-store-memory={100 << 20}",
            ],
            env=environment,
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _connect(head: subprocess.Popen[bytes], log: Path) -> None:
    """Connect when the head says that it is there: a failing `ray.init` takes half a minute."""

    def told() -> bool:
        if head.poll() is not None:
            raise RuntimeError(f"the head ended: {log.read_text()}")
        return b"Ray runtime started" in log.read_bytes()

    wait_for(told, limit_s=_START_S)
    ray.init(address=f"127.0.0.1:{PORT}", log_to_driver=False, logging_level=logging.ERROR)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_DRAIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    with suppress(ProcessLookupError):  # what the head has left behind, if anything
        os.killpg(process.pid, signal.SIGKILL)
