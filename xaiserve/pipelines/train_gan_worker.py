"""What one worker of a contrast GAN's training does, inside Ray Train or without it."""

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import ray.train
import ray.train.torch
import torch

from xaiserve.errors import XaiServeError
from xaiserve.gan.card import card
from xaiserve.gan.guide import guide_of
from xaiserve.gan.images import Pictures, read_folders
from xaiserve.gan.options import Preset
from xaiserve.gan.session import Habits, Outcome, Session
from xaiserve.gan.step import Guide
from xaiserve.gan.team import Alone, Team, Together
from xaiserve.gan.training import Step
from xaiserve.gan.translator import write_translator
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.rng import Keys
from xaiserve.pipelines.progress import Reporter
from xaiserve.storage.opening import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """How many workers there are, and what each has."""

    workers: int
    threads: int
    gpus: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """All that a worker must know; see `gan_training.Config` and `Session`."""

    images: tuple[str, ...]
    out: str
    preset: Preset
    seed: int
    held_out: float
    habits: Habits
    classifier: str | None
    trust_code: bool
    threads: int


def work(settings: dict[str, Task]) -> XaiServeError | None:
    """Train as one worker of Ray Train.

    An error that another try would not mend is returned: what is raised is tried again.
    """
    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    world = context.get_world_size()
    team = Together(context.get_world_rank(), world, device) if world > 1 else Alone()
    try:
        train_task(settings["task"], team, device)
    except XaiServeError as error:
        return error
    return None


def train_task(task: Task, team: Team, device: torch.device) -> None:
    """Train to the end and, on the first worker, write the translator."""
    torch.set_num_threads(task.threads)
    architecture = task.preset.architecture
    pictures = read_folders(task.images, architecture.side, channels=architecture.channels)
    shown, held_out = pictures.split(task.held_out, Keys.root(task.seed, "held out"))
    session = Session(
        store=open_store(task.out),
        pictures=shown,
        held_out=held_out,
        preset=task.preset,
        seed=task.seed,
        habits=task.habits,
        team=team,
        device=device,
        # GPUs compute convolutions several times faster in 16 bits; CPUs gain nothing from it.
        precision=torch.bfloat16 if device.type == "cuda" else torch.float32,
        guide=_guide(task, pictures, device),
    )
    reporter = _reporter(session) if team.rank == 0 else None
    if reporter is not None:
        session.tell = _telling(reporter)
        reporter.start()
    try:
        outcome = session.run()
    except XaiServeError:
        if reporter is not None:
            with suppress(XaiServeError):  # the store may be what has failed
                reporter.enter("failed")
        raise
    if reporter is not None:
        _write(task, session, outcome)
        reporter.enter("done")


def _guide(task: Task, pictures: Pictures, device: torch.device) -> Guide | None:
    if task.classifier is None:
        return None
    classifier = load_classifier(task.classifier, device=device, trust_code=task.trust_code)
    torch.set_num_threads(task.threads)
    channels = task.preset.architecture.channels
    return guide_of(classifier.gradients(), pictures.labels, channels)


def _reporter(session: Session) -> Reporter:
    return Reporter(
        session.store,
        total=session.all_steps,
        resumed=session.steps,
        tell=lambda _: None,
        unit="steps",
        limit_s=session.seconds_left,
    )


def _telling(reporter: Reporter) -> Callable[[Step, int], None]:
    def tell(_: Step, __: int) -> None:
        reporter.add(done=1, failed=0, model_inputs=0)

    return tell


def _write(task: Task, session: Session, outcome: Outcome) -> None:
    pictures, held_out = session.pictures, session.held_out
    told = card(
        task.preset,
        pictures,
        held_out,
        outcome,
        seed=task.seed,
        source=" and ".join(f"`{folder}`" for folder in task.images),
        guide=task.classifier or "",
    )
    training = dataclasses.asdict(outcome) | {
        "pictures": len(pictures.classes) + len(held_out.classes),
        "skipped": list(pictures.skipped),
    }
    write_translator(session.store, session.generator, pictures.labels, told, training=training)
