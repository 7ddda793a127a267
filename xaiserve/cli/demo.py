"""``make demo``: the whole road on this machine, on generated images whose answer is known."""

import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import ray

from xaiserve.cli.handing_over import arguments
from xaiserve.cli.status import read_progress
from xaiserve.data.dataset import read_manifest, write_dataset
from xaiserve.data.planted import planted_samples
from xaiserve.errors import ConflictError, NotFoundError
from xaiserve.pipelines.cluster import OBJECT_STORE_BYTES
from xaiserve.pipelines.pointing_game import Config
from xaiserve.pipelines.reporting import REPORT, write_report
from xaiserve.pipelines.summaries import summarise
from xaiserve.serve.config import make_config, prepare_environment
from xaiserve.serve.running import start_service
from xaiserve.storage.dataset import read_rows
from xaiserve.storage.opening import open_store

MODEL: Final = "embedded"
METHODS: Final = ("multirex", "clear-image", "occlusion", "rise")
OPTIONS: Final = {"rise": {"samples": "1000"}}
SEED: Final = 1

WORKERS: Final = 2
LOGICAL_CPUS: Final = 8
"""The service's replicas hold some; what runs is bounded by the processes there are."""

_MARK: Final = "demo.json"

Tell = Callable[[str], None]


def run(folder: Path, images: int, tell: Tell = print) -> int:
    """Generate images, explain one over HTTP and all of them as a job, and say how well.

    Parameters
    ----------
    folder
        Where images, rows and the report go; what an earlier demo left there is replaced.
    images
        How many, at least 3.

    Returns
    -------
    int
        The exit code: 0 done, 1 the job failed.

    Raises
    ------
    ConflictError
        The folder holds something that is no demo's.
    """
    started = time.monotonic()
    folder = folder.absolute()
    _clear(folder)
    manifest = write_dataset(planted_samples(SEED, images, diseased_only=True), folder / "images")
    tell(f"{images} generated images with 1, 2 or 3 planted lesions: {manifest.parent}")
    config = Config(
        images=str(manifest),
        out=str(folder / "results"),
        model=MODEL,
        model_source=MODEL,
        methods=METHODS,
        options=OPTIONS,
    )
    prepare_environment()
    with _cluster() as address:
        tell(f"Ray runs on this machine: {address}")
        _ask_the_service(next((manifest.parent / "diseased").glob("*.png")), tell)
        if not _run_job(config, address, tell):
            return 1
    _show(config, tell)
    tell(f"done in {time.monotonic() - started:.0f} s")
    return 0


def _clear(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        if not (folder / _MARK).exists():
            raise ConflictError(f"{folder} holds files of something else; name another folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).write_text(json.dumps({"seed": SEED}), encoding="utf-8")


@contextmanager
def _cluster() -> Iterator[str]:
    """Start a Ray; yield its address and end all of it after."""
    ray.init(
        address="local",
        num_cpus=LOGICAL_CPUS,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _ask_the_service(picture: Path, tell: Tell) -> None:
    """Serve the model, explain one picture over HTTP, and stop serving."""
    nothing_kept = {"cache_bytes": 0}
    served = {"models": {MODEL: MODEL}, "port": _free_port(), "answers": nothing_kept}
    service = start_service(make_config(served))
    try:
        url = f"{service.url}/v1/explain?model={MODEL}&method=multirex"
        request = urllib.request.Request(  # noqa: S310 -- our own address
            url, data=picture.read_bytes(), headers={"content-type": "image/png"}
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310 -- our own address
            found = json.load(answer)
        tell(f"the service answers: curl -F image=@{picture.name} '{url}'")
        for place in found["selected"]:
            one = found["explanations"][place]
            tell(f"  enough alone: {one['area_px']} px, scored {one['confidence']:.3f}")
    finally:
        service.stop()


def _run_job(config: Config, address: str, tell: Tell) -> bool:
    """Run the job on this cluster, as its job server would, and say whether it has done its work.

    The server itself needs ports that another cluster on the machine may have.
    """
    crew = {"workers": WORKERS, "threads": 1}
    words = [sys.executable, "-m", "xaiserve", *arguments(config, crew, config.images)]
    said = Path(config.out).with_suffix(".log")
    environment = os.environ | {"RAY_ADDRESS": address}  # noqa: TID251 -- the command line may
    tell(f"a data set job begins: {', '.join(METHODS)}")
    with (
        said.open("w", encoding="utf-8") as log,
        _ended(
            subprocess.Popen(words, env=environment, stdout=log, stderr=log)  # noqa: S603 -- our own
        ) as job,
    ):
        _follow(job, config, tell)
    if job.returncode != 0:
        tell(said.read_text(encoding="utf-8"))
    return job.returncode == 0


@contextmanager
def _ended(job: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """End a process with whatever waits for it."""
    try:
        yield job
    finally:
        job.terminate()
        job.wait()


def _follow(job: subprocess.Popen[bytes], config: Config, tell: Tell) -> None:
    said = ""
    while job.poll() is None:
        try:
            now = str(read_progress(config.out))
        except NotFoundError:
            now = "starting"
        if now != said:
            tell(f"  {now}")
            said = now
        time.sleep(1)


def _show(config: Config, tell: Tell) -> None:
    store = open_store(config.out)
    tell(f"\n{summarise(store, config).render()}\n")
    tell(_agreement(config))
    tell(_overdetermined(config))
    write_report(store)
    tell(f"rows    {config.out}/method=*/*.parquet")
    tell(f"report  {config.out}/{REPORT}")


def _agreement(config: Config) -> str:
    planted = {str(row.row_id): row.explanations for row in read_manifest(Path(config.images))}
    rows = read_rows(config.out, ["row_id", "selected"], methods=["multirex"]).to_pylist()
    right = sum(len(row["selected"] or ()) == planted[row["row_id"]] for row in rows)
    return (
        f"multirex finds exactly as many explanations as were planted in {right} of "
        f"{len(rows)} images"
    )


def _overdetermined(config: Config) -> str:
    """Compare with the number of lesions planted, each of which is enough alone."""
    several = {
        str(row.row_id): (row.explanations or 0) > 1 for row in read_manifest(Path(config.images))
    }
    columns = ["row_id", "overdetermined", "fidelity_max"]
    rows = read_rows(config.out, columns, methods=["clear-image"]).to_pylist()
    right = sum(row["overdetermined"] == several[row["row_id"]] for row in rows)
    errors = [row["fidelity_max"] for row in rows if row["fidelity_max"] is not None]
    return (
        f"clear-image, against the pictures without lesions, calls {right} of {len(rows)} images "
        "overdetermined as planted; its regression is off by "
        f"{max(errors, default=0.0):.3f} at most on {len(errors)} images with counterfactuals"
    )
