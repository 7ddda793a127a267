"""Train a contrast GAN on Ray Train: one worker or many, resumed after whatever stopped it.

Checkpoints are our own objects beside the result, not Ray's: so a training goes on after its driver
or its whole cluster has died, on a disk as in a bucket, by running the same command again.
"""

import json
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import ray.train
from ray.train.torch import TorchTrainer

from xaiserve.dispatch.owning import owned
from xaiserve.dispatch.progress import PROGRESS
from xaiserve.errors import (
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    TrainingFailedError,
    XaiServeError,
)
from xaiserve.gan.images import check_folders, folder_labels
from xaiserve.gan.session import Habits
from xaiserve.gan.translator import CONFIG
from xaiserve.pipelines.cluster import Placement, ray_for
from xaiserve.pipelines.gan_training import Config, Summary
from xaiserve.pipelines.progress import EVERY_S, Progress
from xaiserve.pipelines.train_gan_worker import Crew, Task, work
from xaiserve.storage.objects import ObjectStore, read_if_there
from xaiserve.storage.opening import is_s3, open_store

FINGERPRINT: Final = "training/config.json"
RESTARTS: Final = 3
"""Of workers that die, before the training is given up."""


def run(
    config: Config, placement: Placement, tell: Callable[[Progress], None] = lambda _: None
) -> Summary:
    """Train to the end; running again after a stop goes on from the last checkpoint.

    So does running again with more time than a training had that was stopped by its limit.

    Raises
    ------
    ConflictError
        The output holds the training of another configuration, or another process works on it.
    InvalidInputError
        An option is wrong, or a folder has too few readable pictures.
    TrainingFailedError
        It diverged, or workers died again and again; the last good checkpoint is kept.
    StoreUnavailableError
        The output cannot be written.
    """
    folder_labels(config.images)
    store = open_store(config.out)

    def wait(reason: str) -> None:
        tell(Progress(state="waiting", total=0, unit="steps", reason=reason))

    with owned(store, wait) as ownership:
        mine = _sign(store, config)
        if not _finished(store, config.max_seconds):
            try:
                if placement.address is None:  # else the folders are where the workers are
                    check_folders(config.images)
                with ray_for(placement), _told(store, tell):
                    _fit(config, placement)
            except (InvalidInputError, NotFoundError):
                # Nothing was trained: a command with the mistake mended may have the place.
                if mine:
                    store.remove(FINGERPRINT)
                raise
        ownership.check()
        return _summary(store)


def _sign(store: ObjectStore, config: Config) -> bool:
    """Write down what is trained here, or check that it is the same; say whether it is new."""
    wanted = json.dumps(config.deciding(), sort_keys=True, indent=1).encode()
    found = read_if_there(store, FINGERPRINT)
    if found is None:
        if read_if_there(store, CONFIG) is not None:
            raise ConflictError(f"{store.uri} already holds a translator; name another output")
        store.write(FINGERPRINT, wanted, create_only=True)
    elif found != wanted:
        before, now = json.loads(found), json.loads(wanted)
        changed = ", ".join(key for key in now if now[key] != before.get(key))
        raise ConflictError(
            f"{store.uri} holds a training with other {changed}; name another output, or give the "
            "same options to go on with it"
        )
    return found is None


def _finished(store: ObjectStore, max_seconds: float | None) -> bool:
    """Say whether the translator is written, and could not be trained for longer."""
    found = read_if_there(store, CONFIG)
    if found is None:
        return False
    training = json.loads(found)["training"]
    if training["ended"] == "epochs":
        return True
    return max_seconds is not None and training["seconds"] >= max_seconds


def _fit(config: Config, placement: Placement) -> None:
    crew = _crew(placement)
    task = Task(
        images=config.images,
        out=config.out,
        preset=config.wanted(),
        seed=config.seed,
        held_out=config.held_out,
        habits=Habits(
            checkpoint_s=config.checkpoint_s,
            sheet_s=config.sheet_s,
            max_seconds=config.max_seconds,
        ),
        classifier=config.classifier,
        trust_code=config.trust_code,
        threads=crew.threads,
    )
    with _place(config.out, placement) as place:
        # Any: typed for workers that return nothing, and for results without what they return
        make: Any = TorchTrainer
        trainer = make(
            work,
            train_loop_config={"task": task},
            scaling_config=ray.train.ScalingConfig(
                num_workers=crew.workers,
                use_gpu=crew.gpus,
                resources_per_worker={"CPU": crew.threads} | ({"GPU": 1} if crew.gpus else {}),
            ),
            run_config=ray.train.RunConfig(
                storage_path=place,
                failure_config=ray.train.FailureConfig(max_failures=RESTARTS),
            ),
        )
        try:
            problem = trainer.fit().return_value
        except ray.train.TrainingFailedError as error:
            raise TrainingFailedError(
                f"the training's workers have died {RESTARTS + 1} times, last of: "
                f"{_reason(error)}; the last checkpoint is kept, and the same command goes on "
                "from it"
            ) from error
        except SystemExit as error:  # Ray Train's own answer to Ctrl-C, which says nothing
            raise KeyboardInterrupt from error
    if isinstance(problem, XaiServeError):
        raise problem


@contextmanager
def _place(out: str, placement: Placement) -> Iterator[str]:
    """Give Ray a place for its own notes, which all workers reach; nothing of ours is in it."""
    if placement.address and is_s3(out):
        yield f"{out}/training/ray"
        return
    with tempfile.TemporaryDirectory(prefix="xaiserve-") as folder:
        yield folder


def _crew(placement: Placement) -> Crew:
    workers = placement.workers or 1
    return Crew(
        workers=workers,
        threads=placement.threads or max(1, placement.cpus // workers),
        gpus=placement.gpus > 0,
    )


def _reason(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextmanager
def _told(store: ObjectStore, tell: Callable[[Progress], None]) -> Iterator[None]:
    """Pass on what the first worker writes into the store, while it does."""
    stopped = threading.Event()
    before = read_if_there(store, PROGRESS)  # of an earlier run

    def watch() -> None:
        last = before
        while not stopped.wait(EVERY_S):
            try:
                now = store.read(PROGRESS)
            except ArtifactNotFoundError:
                continue
            except XaiServeError:  # told by the workers, who need the store more than this does
                return
            if now != last:
                last = now
                tell(Progress.from_json(json.loads(now)))

    thread = threading.Thread(target=watch, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def _summary(store: ObjectStore) -> Summary:
    found = json.loads(store.read(CONFIG))
    training = found["training"] | {"skipped": tuple(found["training"]["skipped"])}
    return Summary(out=store.uri, labels=tuple(found["labels"]), **training)
