"""``job-exactly-once``: rows of a job that is killed ten times, in every way, and then finished.

600 generated images and two methods with a tiny model, on a Ray cluster of three nodes, into a real
S3 server. Again and again, at random moments, the driver, an actor, a node or the store is killed
without a warning; a driver that has died is run again with the same command, a node and the store
are replaced. In the end every image and method must have one row, and whatever file there is must
be readable.
"""

import os
import random
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from ray.cluster_utils import Cluster

from benchmarks.common import Report, report
from xaiserve.errors import XaiServeError
from xaiserve.storage.dataset import PARTS, read_manifest, read_rows
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.opening import open_store
from xaiserve.storage.parquet import read_parquet
from xaiserve.testing.jobs import WORKER, descendants, job_process, title, write_images, write_model
from xaiserve.testing.swift import SwiftServer, swift_server

Victim = Literal["driver", "actor", "node", "store"]
Process = subprocess.Popen[str]

METHODS: Final = ("occlusion", "rise")
SAMPLES: Final = 3000
IMAGES: Final = 600
IMAGES_QUICK: Final = 40
KILLS: Final = 10
KILLS_QUICK: Final = 4
SEEDS: Final = (0, 1, 2)
SEEDS_QUICK: Final = (0,)
VICTIMS: Final[tuple[Victim, ...]] = ("driver", "actor", "node", "store")
TASKS_PER_PART: Final = 4
NODES: Final = 2
"""Nodes with workers, beside the head."""

LIMIT_S: Final = 900.0
HEALTH: Final = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}


def run(quick: bool) -> Report:
    """Break three jobs ten times each (``quick``: a small one, four times)."""
    images = IMAGES_QUICK if quick else IMAGES
    seeds, kills = (SEEDS_QUICK, KILLS_QUICK) if quick else (SEEDS, KILLS)
    with tempfile.TemporaryDirectory(prefix="x") as folder:
        rounds = [_round(Path(folder) / str(seed), images, kills, seed) for seed in seeds]
    return report(
        min(found["share"] for found in rounds),
        1.0,
        holds=all(found["share"] == 1 for found in rounds),
        figures={"images": images, "methods": list(METHODS), "seeds": rounds},
    )


def _round(home: Path, images: int, kills: int, seed: int) -> dict[str, Any]:  # Any: figures
    home.mkdir()
    model, manifest = write_model(home / "model"), write_images(home / "images", images)
    arguments = [
        *("explain", "--images", str(manifest), "--model", f"toy={model}"),
        *("--out", "s3://rows/out", "--methods", ",".join(METHODS)),
        *("--set", f"rise.samples={SAMPLES}", "--tasks-per-part", str(TASKS_PER_PART)),
        *("--workers", "2", "--threads", "1"),
    ]
    started = time.perf_counter()
    with ExitStack() as stack:
        (home / "s3").mkdir()
        swift = stack.enter_context(swift_server(home / "s3"))
        swift.make_bucket("rows")
        stack.enter_context(_environment(swift.environment))
        cluster = stack.enter_context(_cluster())
        scene = Scene(arguments, swift, cluster, random.Random(seed))  # noqa: S311 -- no secret
        killed, runs = scene.play(kills, images * len(METHODS))
        found = _verdict(open_store("s3://rows/out", endpoint=swift.endpoint), images)
    return found | {
        "seed": seed,
        "killed": dict(Counter(killed)),
        "runs": runs,
        "seconds": round(time.perf_counter() - started),
    }


class Scene:
    """One job, and all that can be killed of it."""

    def __init__(
        self, arguments: list[str], swift: SwiftServer, cluster: Cluster, dice: random.Random
    ) -> None:
        self._arguments = arguments
        self._swift = swift
        self._cluster = cluster
        self._dice = dice
        self._store = open_store("s3://rows/out", endpoint=swift.endpoint)
        self._runs = 0

    def play(self, kills: int, tasks: int) -> tuple[list[Victim], int]:
        """Kill so many times, let the job finish, and say who was killed and how often it ran.

        Raises
        ------
        RuntimeError
            The job was finished before all had been killed.
        """
        victims = [*VICTIMS, *self._dice.choices(VICTIMS, k=kills)][:kills]
        self._dice.shuffle(victims)
        pace = tasks // (TASKS_PER_PART * (kills + 1))
        waiting = list(victims)
        while True:
            self._runs += 1
            variables = {"RAY_ADDRESS": self._cluster.address}
            with job_process(self._arguments, variables) as process:
                while waiting and self._reached(self._dice.randint(1, pace), process):
                    self._kill(waiting.pop(), process)
                output, _ = process.communicate(timeout=LIMIT_S)
            if read_manifest(self._store) is not None:
                if waiting:
                    raise RuntimeError(f"finished before {waiting} had been killed: {output}")
                return victims, self._runs

    def _reached(self, parts: int, process: Process) -> bool:
        """Wait for more parts, or for the end of the process, which is False."""
        goal = self._parts() + parts
        until = time.monotonic() + LIMIT_S
        while self._parts() < goal:
            if process.poll() is not None:
                return False
            if time.monotonic() > until:
                raise TimeoutError(f"no {parts} further parts in {LIMIT_S:g} s")
            time.sleep(0.05)
        return process.poll() is None

    def _parts(self) -> int:
        return sum(key.endswith(".parquet") for key in self._store.list(PARTS))

    def _kill(self, victim: Victim, process: Process) -> None:
        ways: Mapping[Victim, Callable[[], None]] = {
            "driver": process.kill,
            "actor": self._kill_actor,
            "node": self._kill_node,
            "store": self._kill_store,
        }
        ways[victim]()

    def _kill_actor(self) -> None:
        raylets = descendants(os.getpid())
        actors = [pid for pid in raylets if WORKER in title(pid)]
        os.kill(self._dice.choice(actors), signal.SIGKILL)

    def _kill_node(self) -> None:
        node = self._dice.choice(sorted(self._cluster.worker_nodes, key=lambda node: node.node_id))
        self._cluster.remove_node(node, allow_graceful=False)
        self._cluster.add_node(num_cpus=2)

    def _kill_store(self) -> None:
        self._swift.kill()
        time.sleep(self._dice.uniform(0, 5))
        self._swift.start()


def _verdict(store: ObjectStore, images: int) -> dict[str, Any]:  # Any: figures
    rows = read_rows(store, ["row_id", "method", "status"]).to_pylist()
    counts = Counter((row["row_id"], row["method"]) for row in rows)
    expected = {(f"image-{i}", method) for i in range(images) for method in METHODS}
    files = [key for key in store.list() if key.endswith(".parquet")]
    unreadable = [key for key in files if not _readable(store, key)]
    whole = set(counts) == expected and len(rows) == len(expected) and not unreadable
    fine = sum(row["status"] == "ok" for row in rows)
    return {
        "rows": len(rows),
        "lost": len(expected - set(counts)),
        "twice": len(rows) - len(counts),
        "not_ok": len(rows) - fine,
        "files": len(files),
        "unreadable": len(unreadable),
        "share": 1.0 if whole and fine == len(rows) else min(0.999, fine / len(expected)),
    }


def _readable(store: ObjectStore, key: str) -> bool:
    try:
        return bool(read_parquet(store, key).num_rows)
    except (XaiServeError, OSError, ValueError):
        return False


@contextmanager
def _cluster() -> Iterator[Cluster]:
    """Run a head that works at nothing, and nodes beside it."""
    head = {"num_cpus": 0, "include_dashboard": False, "_system_config": HEALTH}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(NODES):
            cluster.add_node(num_cpus=2)
        yield cluster
    finally:
        cluster.shutdown()  # type: ignore[no-untyped-call]


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for this process and for the nodes and jobs that it starts."""
    before = {name: os.environ.get(name) for name in variables}  # noqa: TID251 -- a benchmark may
    os.environ.update(variables)  # noqa: TID251
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]  # noqa: TID251
            else:
                os.environ[name] = value  # noqa: TID251
