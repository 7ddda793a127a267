"""Ray's job server: submit a job to a running cluster, and ask after it."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from xaiserve.errors import CapacityError, InvalidInputError, NotFoundError, XaiServeError

OUT_KEY: Final = "xaiserve_out"
"""Metadata of a submitted job that says where its rows and its progress are."""

FINGERPRINT_KEY: Final = "xaiserve_fingerprint"
"""Metadata that tells jobs apart which have their rows at the same place."""

AGENT_S: Final = 60.0
"""How long the agent that runs jobs may take to appear on a cluster that has just started."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedJob:
    """One job as the server knows it.

    Parameters
    ----------
    state
        PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED.
    message
        Why, in the server's words; may be empty.
    out
        Where its rows go; empty for a job that is not ours.
    fingerprint
        What tells it from others with the same output; empty where whoever submitted it said none.
    """

    job_id: str
    state: str
    message: str
    out: str
    fingerprint: str = ""

    @property
    def ended(self) -> bool:
        return self.state in {"STOPPED", "SUCCEEDED", "FAILED"}


class JobServer:
    """A cluster's job server.

    Parameters
    ----------
    address
        Of the cluster's dashboard, such as ``http://127.0.0.1:8265``.

    Raises
    ------
    InvalidInputError
        Nothing answers there, or it refuses the token.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        logging.getLogger("ray.dashboard.modules.job.sdk").setLevel(logging.WARNING)
        with self._explained():
            try:
                self._client: Any = JobSubmissionClient(address)  # Any: Ray is not typed
            except RuntimeError as error:  # another server answers, and knows no version of Ray
                raise self._no_server() from error

    def ray_version(self) -> str:
        """Return the version of Ray that the cluster runs."""
        with self._explained():
            about: dict[str, str] = self._client._do_request("GET", "/api/version").json()  # noqa: SLF001 -- `get_version` gives that of the protocol
        return about["ray_version"]

    def submit(self, entrypoint: str, *, out: str, fingerprint: str = "") -> str:
        """Start ``entrypoint``, a shell command, on the cluster's head and return the job's id.

        Raises
        ------
        CapacityError
            No agent of the cluster runs jobs; one that has just started gets a minute.
        """
        until = time.monotonic() + AGENT_S
        while True:
            try:
                with self._explained():
                    return self._submit(entrypoint, {OUT_KEY: out, FINGERPRINT_KEY: fingerprint})
            except CapacityError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.5)

    def _submit(self, entrypoint: str, metadata: dict[str, str]) -> str:
        try:
            job_id: str = self._client.submit_job(entrypoint=entrypoint, metadata=metadata)
        except RuntimeError as error:
            if "No available agent" not in str(error):
                raise
            raise CapacityError(
                f"no agent of the cluster at {self._address} runs jobs; where several clusters "
                "share a machine, end the others or give each a --dashboard-agent-listen-port",
                retry_after_s=AGENT_S,
            ) from error
        return job_id

    def jobs(self) -> list[SubmittedJob]:
        """List our jobs, oldest first."""
        with self._explained():
            found = self._client.list_jobs()
        ours = [job for job in found if job.submission_id and OUT_KEY in (job.metadata or {})]
        return [_described(job) for job in sorted(ours, key=lambda job: job.start_time or 0)]

    def find(self, job_id: str) -> SubmittedJob:
        """Look one job up.

        Raises
        ------
        NotFoundError
            The cluster knows no such job.
        """
        with self._explained(job_id):
            return _described(self._client.get_job_info(job_id))

    def stop(self, job_id: str) -> None:
        """End a job's driver without asking it."""
        with self._explained(job_id):
            self._client.stop_job(job_id)

    def logs(self, job_id: str) -> str:
        """Return what the job has written so far."""
        with self._explained(job_id):
            text: str = self._client.get_job_logs(job_id)
        return text

    def follow(self, job_id: str) -> Iterator[str]:
        """Yield what the job writes as it comes, from the beginning, until it ends."""
        self.find(job_id)
        pieces = self._client.tail_job_logs(job_id)

        async def piece() -> str | None:
            found: str | None = await anext(pieces, None)
            return found

        with asyncio.Runner() as runner, self._explained(job_id):
            while (found := runner.run(piece())) is not None:
                yield found

    @contextmanager
    def _explained(self, job_id: str = "") -> Iterator[None]:
        try:
            yield
        except XaiServeError:
            raise
        except AuthenticationError as error:
            raise InvalidInputError(
                f"address {self._address} refuses the token; set RAY_AUTH_MODE=token, and "
                "RAY_AUTH_TOKEN as the cluster has it unless ~/.ray/auth_token of this machine does"
            ) from error
        except ValueError as error:  # what is no address at all; Ray says so in many ways
            raise InvalidInputError(
                f"address must be http://HOST:PORT of a cluster's dashboard, got {self._address!r}"
            ) from error
        except RuntimeError as error:
            if job_id and "404" in str(error):
                raise NotFoundError(
                    f"job {job_id!r} does not exist on {self._address}; "
                    "'xaiserve status' lists those that do"
                ) from error
            raise
        except OSError as error:
            raise self._no_server() from error

    def _no_server(self) -> InvalidInputError:
        return InvalidInputError(
            f"address {self._address} answers no Ray job server; start a cluster with "
            "'ray start --head', or let 'xaiserve submit --local' have one of its own"
        )


def _described(job: Any) -> SubmittedJob:
    return SubmittedJob(
        job_id=job.submission_id,
        state=job.status.value,
        message=job.message or "",
        out=(job.metadata or {}).get(OUT_KEY, ""),
        fingerprint=(job.metadata or {}).get(FINGERPRINT_KEY, ""),
    )
