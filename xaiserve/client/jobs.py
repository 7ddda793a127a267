"""Jobs over data sets, as values and as calls."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Required, TypedDict

from xaiserve.backoff import Backoff
from xaiserve.client.exchanging import POLL_S, Call, Flow, Wait, exchange, path_of
from xaiserve.client.results import Json

JobState = Literal["pending", "running", "stopped", "succeeded", "failed"]

_ENDED: Final = frozenset({"stopped", "succeeded", "failed"})


class JobWish(TypedDict, total=False):
    """What is asked of a job; what is left out is left to the service.

    ``images`` (a folder, an ``s3://`` prefix, a manifest) and ``out`` lie in places that the
    service allows; ``model`` is one that it serves. ``parameters`` are by method. ``scores`` names
    insertion, deletion. ``limit`` takes only the first so many images, ``max_inputs`` is what one
    explanation may cost. ``tolerance_px`` is for pointing games. ``workers`` with so many
    ``threads`` and ``gpus`` each publish ``tasks_per_part`` explanations at once.
    """

    kind: Required[Literal["explain", "pointing-game"]]
    images: Required[str]
    model: Required[str]
    methods: Required[Sequence[str]]
    out: Required[str]
    parameters: Mapping[str, Mapping[str, str | float | bool]]
    scores: Sequence[Literal["insertion", "deletion"]]
    seed: int
    limit: int
    max_inputs: int
    tolerance_px: float
    tasks_per_part: int
    workers: int
    threads: int
    gpus: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobProgress:
    """How far a job has come; ``body`` holds all that it says.

    Parameters
    ----------
    done, total
        Explanations published, of so many.
    failed
        Of ``done``, rows that hold an error instead of an explanation.
    per_second, seconds_left
        Speed, and what the rest takes at it; none while nobody can know.
    reason
        Why it stopped or failed, in a sentence; may be empty.
    """

    done: int
    total: int
    failed: int
    per_second: float | None
    seconds_left: float | None
    reason: str
    body: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One job.

    Parameters
    ----------
    out
        Where its rows are.
    message
        Why it is in its state, in the cluster's words; may be empty.
    progress
        None before it has begun.
    """

    id: str
    state: JobState
    out: str
    message: str
    progress: JobProgress | None

    @property
    def ended(self) -> bool:
        """Whether it does nothing any more; the same job may be submitted to go on."""
        return self.state in _ENDED


def job_of(body: Json) -> Job:
    """Read a `Job` from its body."""
    progress = body["progress"]
    return Job(
        id=body["id"],
        state=body["state"],
        out=body["out"],
        message=body["message"],
        progress=None if progress is None else _progress_of(progress),
    )


def _progress_of(body: Json) -> JobProgress:
    return JobProgress(
        done=body["done"],
        total=body["total"],
        failed=body["failed"],
        per_second=body["per_second"],
        seconds_left=body["seconds_left"],
        reason=body["reason"],
        body=body,
    )


def submit_job_call(wish: JobWish) -> Call[Job]:
    """Start a job; the same again is that job while it runs, and later goes on with it."""
    return Call(verb="POST", path="/v1/jobs", json=wish, read=_job)


def jobs_call() -> Call[tuple[Job, ...]]:
    """List the jobs."""
    return Call(verb="GET", path="/v1/jobs", read=lambda _, body: tuple(map(job_of, body["jobs"])))


def job_call(name: str) -> Call[Job]:
    """Describe a job."""
    return Call(verb="GET", path=path_of("jobs", name), read=_job)


def job_logs_call(name: str) -> Call[str]:
    """Return what a job has written."""
    path = path_of("jobs", name, "logs")
    return Call(verb="GET", path=path, is_json=False, read=lambda _, text: str(text))


def cancel_job_call(name: str) -> Call[Job]:
    """End a job."""
    return Call(verb="DELETE", path=path_of("jobs", name), read=_job)


def ended_job(name: str, patience_s: float, tell: Callable[[Job], object] | None) -> Flow[Job]:
    """Look at a job until it has ended, telling of each look."""
    while True:
        job = yield from exchange(job_call(name), Backoff(patience_s))
        if tell is not None:
            tell(job)
        if job.ended:
            return job
        yield Wait(POLL_S)


def _job(_: int, body: Any) -> Job:  # Any: JSON
    return job_of(body)
