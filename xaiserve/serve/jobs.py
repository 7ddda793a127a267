"""Jobs over data sets, handed to the cluster's job server as command lines."""

import logging
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, Final, Literal, cast

from xaiserve.dispatch.cancelling import ask_to_end
from xaiserve.dispatch.progress import GOING, last_told
from xaiserve.dispatch.submission import JobServer, SubmittedJob
from xaiserve.errors import (
    CapacityError,
    ConflictError,
    InvalidInputError,
    NotFoundError,
    XaiServeError,
)
from xaiserve.explainers.registry import make_explainer
from xaiserve.metrics.deletion import check_scores
from xaiserve.serve.bodies.jobs import JobBody, JobRequest
from xaiserve.serve.model_settings import ModelSettings
from xaiserve.serve.problem_details import UNAVAILABLE_RETRY_S, Kind, Problem
from xaiserve.serve.problems import ProblemError
from xaiserve.serve.settings import Jobs as JobSettings
from xaiserve.storage.objects import exists
from xaiserve.storage.opening import is_s3, open_store
from xaiserve.storage.results import digest_of
from xaiserve.storage.versions import JOB

_log = logging.getLogger(__name__)

NO_JOBS: Final = Kind(503, "no-jobs", "This service runs no jobs")


class Jobs:
    """Submits, describes and ends jobs; every method waits for the cluster: not for an event loop.

    Parameters
    ----------
    models
        The models served, which a job may name.
    connect
        Opens the job server at an address.
    """

    def __init__(
        self,
        settings: JobSettings,
        models: Mapping[str, ModelSettings],
        *,
        connect: Callable[[str], JobServer] = JobServer,
    ) -> None:
        self._settings = settings
        self._models = models
        self._connect = connect

    @property
    def possible(self) -> bool:
        """Whether there is a place for their rows."""
        return bool(self._settings.outputs)

    def submit(self, asked: JobRequest) -> tuple[JobBody, bool]:
        """Start a job, and say whether it is new: one that runs already is returned.

        The same job again, after an end of whatever kind, goes on where it stopped.

        Raises
        ------
        InvalidInputError, NotFoundError
            A place is not allowed, a model, method or parameter is wrong.
        ConflictError
            Another job has its rows there.
        ProblemError
            No cluster runs jobs.
        """
        server = self._server()
        words, fingerprint = self._words(asked)
        with _reached():
            jobs = server.jobs()
        for job in jobs:
            if job.out != asked.out:
                continue
            if not job.ended and job.fingerprint == fingerprint:
                return self._body(job), False
            begun = not job.ended or exists(open_store(asked.out), JOB)
            if begun and job.fingerprint != fingerprint:
                raise ConflictError(
                    f"out {asked.out} belongs to job {job.job_id}, which is another one; take "
                    "another place"
                )
        line = shlex.join([sys.executable, "-m", "xaiserve", *words])
        with _reached():
            name = server.submit(line, out=asked.out, fingerprint=fingerprint)
            job = server.find(name)
        return self._body(job), True

    def all(self) -> list[JobBody]:
        """Describe all jobs of the cluster, oldest first."""
        server = self._server()
        with _reached():
            jobs = server.jobs()
        return [self._body(job) for job in jobs]

    def find(self, name: str) -> JobBody:
        """Describe one; raises `NotFoundError` when there is none of that name."""
        return self._body(self._found(name))

    def logs(self, name: str) -> str:
        """Return what a job has written."""
        self._found(name)
        server = self._server()
        with _reached(name):
            return server.logs(name)

    def cancel(self, name: str) -> JobBody:
        """End a job; what is published stays, and the same job may go on from there."""
        job = self._found(name)
        if not job.ended:
            if (_progress(job) or {}).get("state") in GOING:
                ask_to_end(open_store(job.out))
            else:  # it has not begun, or cannot be asked
                server = self._server()
                with _reached(name):
                    server.stop(name)
        return self.find(name)

    def _server(self) -> JobServer:
        settings = self._settings
        if not self.possible:
            raise _no_jobs("jobs.outputs of its configuration names no place for their rows")
        with _reached():
            return self._connect(settings.address)

    def _found(self, name: str) -> SubmittedJob:
        server = self._server()
        with _reached(name):
            job = server.find(name)
        if not job.out:
            raise NotFoundError(f"job {name!r} is none of xaiserve's")
        return job

    def _words(self, asked: JobRequest) -> tuple[list[str], str]:
        """Write the command line of a job, and the digest of what decides its rows."""
        _check_place("images", asked.images, self._settings.images)
        _check_place("out", asked.out, self._settings.outputs)
        if asked.model not in self._models:
            known = ", ".join(self._models)
            raise NotFoundError(f"model {asked.model!r} is not served; known are {known}")
        model = self._models[asked.model]
        if model.overrides:
            raise InvalidInputError(
                f"model {asked.model!r} is served with overrides, which jobs do not take"
            )
        for method in asked.methods:
            make_explainer(method, asked.parameters.get(method))
        check_scores(asked.scores)
        if asked.tolerance_px is not None and asked.kind != "pointing-game":
            raise InvalidInputError(f"tolerance_px is for pointing-game, got kind {asked.kind}")
        if unknown := set(asked.parameters) - set(asked.methods):
            raise InvalidInputError(f"parameters name {min(unknown)}, which methods does not")
        decides = {
            "--images": asked.images,
            "--model": f"{asked.model}={model.source}",
            "--methods": ",".join(asked.methods),
            "--out": asked.out,
            "--seed": asked.seed,
            "--limit": asked.limit,
            "--max-inputs": asked.max_inputs,
            "--scores": ",".join(asked.scores) or None,
            "--tolerance-px": asked.tolerance_px,
            "--format": model.file_format,
            "--precision": model.precision,
            **_contrasts(model),
        }
        words = [asked.kind, *_options(decides), *_settings(asked, model)]
        beside = {
            "--device": model.device,
            "--tasks-per-part": asked.tasks_per_part,
            "--workers": asked.workers,
            "--threads": asked.threads,
            "--gpus": model.gpus if asked.gpus is None else asked.gpus,
        }
        trusted = ["--trust-code"] if model.trust_code else []
        return ["submit", *words, "--local", *_options(beside), *trusted], digest_of(words)

    @staticmethod
    def _body(job: SubmittedJob) -> JobBody:
        state = cast(
            "Literal['pending', 'running', 'stopped', 'succeeded', 'failed']", job.state.lower()
        )
        return JobBody(
            id=job.job_id, state=state, out=job.out, message=job.message, progress=_progress(job)
        )


def _progress(job: SubmittedJob) -> dict[str, Any] | None:  # Any: JSON
    try:
        return last_told(open_store(job.out))
    except XaiServeError:  # the bucket may be closed to the service: the state is known
        return None


def _options(options: Mapping[str, object]) -> list[str]:
    given = {name: value for name, value in options.items() if value is not None}
    return [word for name, value in given.items() for word in (name, str(value))]


def _contrasts(model: ModelSettings) -> dict[str, object]:
    translator = model.translator
    return {
        "--translator": None if translator is None else translator.source,
        "--contrast": model.contrast,
    }


def _settings(asked: JobRequest, model: ModelSettings) -> list[str]:
    parameters = [
        word
        for method, values in asked.parameters.items()
        for key, value in values.items()
        for word in ("--set", f"{method}.{key}={_text(value)}")
    ]
    contrasts = model.contrast_options.items()
    return parameters + [word for k, v in contrasts for word in ("--contrast-set", f"{k}={v}")]


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_place(field: str, place: str, allowed: tuple[str, ...]) -> None:
    """Refuse what does not lie below an allowed place; ``..`` lies nowhere."""
    whole = is_s3(place) or place.startswith("/")
    if whole and place.isprintable() and ".." not in PurePosixPath(place).parts:
        for each in allowed:
            if place == each.rstrip("/") or place.startswith(each.rstrip("/") + "/"):
                return
    told = ", ".join(allowed) or "none"
    raise InvalidInputError(f"{field} must lie in a place that is allowed ({told}), got {place!r}")


@contextmanager
def _reached(name: str = "") -> Iterator[None]:
    """Ask the cluster; where it is, which its errors say, is for the log and not for callers."""
    try:
        yield
    except NotFoundError as error:
        raise NotFoundError(f"job {name!r} does not exist") from error
    except (InvalidInputError, CapacityError, RuntimeError) as error:
        _log.error("jobs.address of the configuration: %s", error)
        told = "the cluster that runs its jobs does not take them now; its log says more"
        raise _no_jobs(told, retry_after_s=UNAVAILABLE_RETRY_S) from error


def _no_jobs(why: str, *, retry_after_s: float | None = None) -> ProblemError:
    return ProblemError(Problem(kind=NO_JOBS, detail=why, retry_after_s=retry_after_s))
