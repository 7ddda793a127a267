"""One worker's part of a training: resume, step, save, show, stop, and write the translator.

Everything is kept in a store: ``training/checkpoints``, ``training/metrics.jsonl`` and
``training/samples/*.png`` while it runs; the translator folder itself at the end. A session that is
killed at any moment is continued by another on the same store, from the last checkpoint, with the
result that it would have had (on the same device, with as many threads; with several workers, but
for the statistics of BatchNorm, which are those of the first worker's rows).
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import torch

from xaiserve.errors import StoreUnavailableError, TrainingFailedError, XaiServeError
from xaiserve.gan.checkpoints import checkpoint_of, latest, restore, save
from xaiserve.gan.images import Pictures
from xaiserve.gan.measuring import Figures, measure
from xaiserve.gan.networks import Critic, Generator, initialise
from xaiserve.gan.options import Preset
from xaiserve.gan.sheets import sheet
from xaiserve.gan.step import Guide, Players, make_players
from xaiserve.gan.team import Alone, Team
from xaiserve.gan.training import Share, Step, steps_per_epoch, train
from xaiserve.perturb.rng import Keys
from xaiserve.storage.objects import ObjectStore, read_if_there
from xaiserve.storage.pictures import encode_png

METRICS: Final = "training/metrics.jsonl"
SAMPLES: Final = "training/samples"

_GO, _STOP, _FAIL = 0, 1, 2
_METRICS_STEPS: Final = 20

Ended = Literal["epochs", "seconds"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """When a session saves, shows and stops.

    Parameters
    ----------
    checkpoint_s
        Seconds between checkpoints.
    sheet_s
        Seconds between sample sheets.
    max_seconds
        Of training, over all its sessions; none trains all epochs.
    """

    checkpoint_s: float = 60.0
    sheet_s: float = 300.0
    max_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a training ended.

    Parameters
    ----------
    steps, epochs
        Done, over all sessions; epochs are fractional where time ran out.
    seconds
        Of training.
    ended
        Whether all ``epochs`` were done or the ``seconds`` were spent.
    figures
        On the pictures held out.
    """

    steps: int
    epochs: float
    seconds: float
    ended: Ended
    figures: Figures


@dataclass(kw_only=True)
class Session:
    """Trains from the newest checkpoint of ``store`` to the end.

    Parameters
    ----------
    store
        The translator's folder.
    pictures, held_out
        To train on, and to show and measure.
    preset, seed
        What decides the result.
    team
        The workers; the first of them writes.
    device, precision
        Where and in how many bits networks compute.
    guide
        See `guide_of`.
    tell
        Called by the first worker after every step with the step, and the number of all steps.
    clock
        Seconds that only go forward.
    """

    store: ObjectStore
    pictures: Pictures
    held_out: Pictures
    preset: Preset
    seed: int
    habits: Habits = Habits()
    team: Team = field(default_factory=Alone)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    precision: torch.dtype = torch.float32
    guide: Guide | None = None
    tell: Callable[[Step, int], None] = lambda _, __: None
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._keys = Keys.root(self.seed, "contrast-gan")
        self._players = self._new_players()
        found = latest(self.store)
        if found is not None:
            restore(self._players, found)
        self.steps = found.step if found else 0
        self._seconds = found.seconds if found else 0.0
        self._metrics = _Metrics(self.store, self.steps)
        self._saved = self._shown = self.clock()
        self._problem: XaiServeError | None = None

    @property
    def generator(self) -> Generator:
        """The network as it is now."""
        return self._players.generator

    @property
    def all_steps(self) -> int:
        """Steps of all epochs."""
        return steps_per_epoch(self.pictures, self.preset.options) * self.preset.options.epochs

    @property
    def seconds_left(self) -> float | None:
        """Of training, within the limit; none without one."""
        limit = self.habits.max_seconds
        return None if limit is None else max(0.0, limit - self._seconds)

    def run(self) -> Outcome:
        """Train to the end, and measure; a training that has ended before is not trained again.

        Raises
        ------
        TrainingFailedError
            It diverged; the last checkpoint is from before.
        StoreUnavailableError
            A checkpoint could not be written; the one before it is whole.
        """
        before, started = self._seconds, self.clock()
        for done in () if self._spent else self._steps():
            self.steps, self._seconds = done.number, before + self.clock() - started
            self._metrics.add(done, self._seconds, ends=self._ends)
            verdict = self.team.agree(self._after_step(done))
            if verdict == _FAIL:
                raise self._problem or StoreUnavailableError(
                    f"the first worker cannot write to {self.store.uri}"
                )
            if verdict == _STOP:
                break
        return Outcome(
            steps=self.steps,
            epochs=self.steps / steps_per_epoch(self.pictures, self.preset.options),
            seconds=self._seconds,
            ended="epochs" if self.steps >= self.all_steps else "seconds",
            figures=measure(self.generator, self._players.critic, self.held_out, self.guide),
        )

    @property
    def _spent(self) -> bool:
        return self.seconds_left == 0

    @property
    def _ends(self) -> bool:
        return self._spent or self.steps == self.all_steps

    def _steps(self) -> Iterator[Step]:
        """Train, and say of a divergence where it happened and what is left."""
        options = self.preset.options
        try:
            yield from train(
                self._players,
                self.pictures,
                options,
                self._keys,
                start=self.steps,
                share=Share(self.team.rank, self.team.world),
            )
        except TrainingFailedError as error:
            kept = latest(self.store)
            raise TrainingFailedError(
                f"{error} in step {self.steps + 1}; "
                + (f"the checkpoint of step {kept.step} is kept" if kept else "there is none yet")
                + "; a smaller learning_rate may help"
            ) from error

    def _after_step(self, done: Step) -> int:
        """Tell, save and show what is due, on the first worker; return whether to go on."""
        if self.team.rank != 0:
            return _GO
        now, ends = self.clock(), self._ends
        try:
            self.tell(done, self.all_steps)
            if ends or now - self._saved >= self.habits.checkpoint_s:
                # Metrics first: lines past the newest checkpoint are dropped on resuming.
                self._metrics.write()
                save(self.store, checkpoint_of(self._players, self.steps, self._seconds))
                self._saved = now
            if ends or now - self._shown >= self.habits.sheet_s:
                picture = encode_png(sheet(self.generator, self.held_out))
                self.store.write(f"{SAMPLES}/step-{self.steps:09d}.png", picture)
                self._shown = now
        except XaiServeError as error:
            self._problem = error
            return _FAIL
        return _STOP if self._spent else _GO

    def _new_players(self) -> Players:
        architecture, options = self.preset.architecture, self.preset.options
        generator, critic = Generator(architecture), Critic(architecture, options.dropout)
        initialise(generator, critic, self._keys.child("weights"))
        return make_players(
            generator.to(self.device),
            critic.to(self.device),
            options,
            precision=self.precision,
            average=self.team.average,
            guide=self.guide,
        )


class _Metrics:
    """Means of the losses over a few steps each, one JSON object a line."""

    def __init__(self, store: ObjectStore, steps: int) -> None:
        self._store = store
        text = (read_if_there(store, METRICS) or b"").decode()
        self._lines = [line for line in text.splitlines() if json.loads(line)["step"] <= steps]
        self._found: dict[str, list[float]] = {}

    def add(self, done: Step, seconds: float, *, ends: bool) -> None:
        for name, value in done.losses.items():
            self._found.setdefault(name, []).append(value)
        if ends or done.number % _METRICS_STEPS == 0:
            means = {name: sum(values) / len(values) for name, values in self._found.items()}
            place = {"step": done.number, "epoch": done.epoch, "seconds": round(seconds, 3)}
            self._lines.append(json.dumps(place | means))
            self._found = {}

    def write(self) -> None:
        self._store.write(METRICS, "".join(f"{line}\n" for line in self._lines).encode())
