"""How far a job has come: for the terminal, and as ``_progress.json`` beside its rows."""

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from typing_extensions import override

from xaiserve.dispatch.progress import DEAD, GOING, PROGRESS, last_told
from xaiserve.errors import JobStoppedError
from xaiserve.storage.objects import ObjectStore

EVERY_S: Final = 2.0

BEAT_S: Final = 10.0
"""A job says at least as often that it goes on."""

State = Literal["waiting", "running", "merging", "done", "failed", "stopped", "cancelled", "dead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A job at one moment.

    Parameters
    ----------
    state
        ``waiting`` is for another process, and said to nobody but the terminal. ``merging`` has
        all rows and puts them into few files. ``stopped`` was interrupted or had too many errors,
        ``cancelled`` was asked to end, ``failed`` could not go on, the driver of ``dead`` was
        killed; all go on when run again.
    reason
        Why it stopped or failed, in a sentence.
    done, total
        Explanations published, of so many.
    resumed
        Of ``done``, those that an earlier run had published.
    failed
        Of ``done``, rows that hold an error instead of an explanation; of earlier runs, too.
    parts
        Files published in this run, each by one call of a worker.
    model_inputs
        Rows scored by the model in this run.
    seconds
        Wall time of this run so far.
    per_second, model_inputs_per_second
        Speed since the first part of this run was published, so that starting does not count;
        None until the second is.
    limit_s
        Seconds after which this run ends, however far it is then; none if it has no such limit.
    unit
        What ``done`` and ``total`` count.
    updated
        When this was said, in seconds since 1970.
    """

    state: State
    total: int
    done: int = 0
    resumed: int = 0
    failed: int = 0
    parts: int = 0
    model_inputs: int = 0
    seconds: float = 0.0
    per_second: float | None = None
    model_inputs_per_second: float | None = None
    limit_s: float | None = None
    unit: str = "explanations"
    reason: str = ""
    updated: float = 0.0

    @property
    def runs(self) -> bool:
        """Say whether it goes on."""
        return self.state in GOING

    @property
    def seconds_left(self) -> float | None:
        """Time that the rest takes at this speed, if there is one, within the limit."""
        rest = None if not self.per_second else (self.total - self.done) / self.per_second
        if rest is None or self.limit_s is None:
            return rest
        return min(rest, max(0.0, self.limit_s - self.seconds))

    def to_json(self) -> bytes:
        """Write all fields, and the time left."""
        return json.dumps(dataclasses.asdict(self) | {"seconds_left": self.seconds_left}).encode()

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Progress":  # Any: JSON
        """Read what `to_json` wrote."""
        known = {each.name for each in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in told.items() if key in known})

    @override
    def __str__(self) -> str:
        dead = "dead (nobody works on it; run it again to go on)"
        state = dead if self.state == DEAD else self.state
        told = [f"{state}: {self.done}/{self.total} {self.unit}"]
        if self.failed:
            told.append(f"{self.failed} failed")
        if self.per_second is not None:
            told.append(f"{self.per_second:.2f}/s")
        if self.model_inputs_per_second:
            told.append(f"{self.model_inputs_per_second:.0f} model inputs/s")
        if self.state == "running" and self.seconds_left is not None:
            told.append(f"{duration(self.seconds_left)} left")
        if self.reason:
            told.append(self.reason)
        return ", ".join(told)


def read_progress(store: ObjectStore) -> Progress | None:
    """Read how far the job of an output is; see `last_told`."""
    told = last_told(store)
    return None if told is None else Progress.from_json(told)


def duration(seconds: float) -> str:
    """Write seconds as people say them."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Reporter:
    """Keeps count and tells it, not more often than every two seconds.

    Parameters
    ----------
    store
        The job's output; `PROGRESS` in it is overwritten.
    total, resumed
        Tasks, and those that were published before.
    failed
        Of those, the ones that hold an error.
    tell
        Called with every progress that is written.
    unit
        What is counted.
    limit_s
        See `Progress`.
    clock
        Seconds that only go forward.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        total: int,
        resumed: int,
        failed: int = 0,
        tell: Callable[[Progress], None],
        unit: str = "explanations",
        limit_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._tell = tell
        self._clock = clock
        self._started = clock()
        self._told = self._started - EVERY_S
        self._first: Progress | None = None
        self._failed_before = failed
        self._now = Progress(
            state="running",
            total=total,
            done=resumed,
            resumed=resumed,
            failed=failed,
            unit=unit,
            limit_s=limit_s,
        )

    def start(self) -> None:
        """Tell that the job runs."""
        self._write()

    def add(self, *, done: int, failed: int, model_inputs: int) -> None:
        """Count one published part."""
        now = self._now
        self._now = dataclasses.replace(
            now,
            done=now.done + done,
            failed=now.failed + failed,
            parts=now.parts + 1,
            model_inputs=now.model_inputs + model_inputs,
        )
        self._measure()
        if self._clock() - self._told >= EVERY_S:
            self._write()

    def beat(self) -> None:
        """Say that the job goes on, if nothing has been said for a while."""
        if self._clock() - self._told >= BEAT_S:
            self._write()

    def check_errors(self, most: float | None, after: int) -> None:
        """Stop a job of which more than ``most`` of this run's rows hold an error.

        Raises
        ------
        JobStoppedError
            That is so, after at least so many rows.
        """
        rows = self._now.done - self._now.resumed
        failed = self._now.failed - self._failed_before
        if most is not None and rows >= after and failed > most * rows:
            raise JobStoppedError(
                f"{failed} of {rows} rows hold an error, more than max_error_share {most:g} "
                "allows; column error_text says why, and --retry-errors does them again"
            )

    @property
    def told_done(self) -> bool:
        return self._now.state == "done"

    def enter(self, state: State, reason: str = "") -> Progress:
        """Tell another state, and return it."""
        self._now = dataclasses.replace(self._now, state=state, reason=reason)
        self._write()
        return self._now

    def _measure(self) -> None:
        self._now = dataclasses.replace(self._now, seconds=self._clock() - self._started)
        now, first = self._now, self._first
        if first is None:
            self._first = now
            return
        seconds = max(now.seconds - first.seconds, 1e-3)
        self._now = dataclasses.replace(
            now,
            per_second=(now.done - first.done) / seconds,
            model_inputs_per_second=(now.model_inputs - first.model_inputs) / seconds,
        )

    def _write(self) -> None:
        self._told = self._clock()
        self._now = dataclasses.replace(
            self._now, seconds=self._told - self._started, updated=time.time()
        )
        self._store.write(PROGRESS, self._now.to_json())
        self._tell(self._now)
