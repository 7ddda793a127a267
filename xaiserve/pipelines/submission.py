"""Ray's job server: submit a job to a running cluster, and ask after it."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from ray.exceptions import AuthenticationError
from ray.job_submission import JobSubmissionClient

from xaiserve.errors import InvalidInputError, NotFoundError, XaiServeError

OUT_KEY: Final = "xaiserve_out"
"""Metadata of a submitted job that says where its rows and its progress are."""


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
    """

    job_id: str
    state: str
    message: str
    out: str

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
            self._client: Any = JobSubmissionClient(address)  # Any: Ray is not typed

    def submit(self, entrypoint: str, *, out: str) -> str:
        """Start ``entrypoint``, a shell command, on the cluster's head and return the job's id."""
        with self._explained():
            job_id: str = self._client.submit_job(entrypoint=entrypoint, metadata={OUT_KEY: out})
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
                f"address {self._address} refuses the token; set RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN as the cluster has them"
            ) from error
        except RuntimeError as error:
            if job_id and "404" in str(error):
                raise NotFoundError(
                    f"job {job_id!r} does not exist on {self._address}; "
                    "'xaiserve status' lists those that do"
                ) from error
            raise
        except OSError as error:
            raise InvalidInputError(
                f"address {self._address} answers no Ray job server; start a cluster with "
                "'ray start --head', or use --local"
            ) from error


def _described(job: Any) -> SubmittedJob:
    return SubmittedJob(
        job_id=job.submission_id,
        state=job.status.value,
        message=job.message or "",
        out=(job.metadata or {}).get(OUT_KEY, ""),
    )
