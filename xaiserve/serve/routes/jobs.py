"""``/v1/jobs``: work over data sets, on the service's cluster."""

import asyncio
from typing import Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from xaiserve.serve.bodies.jobs import JobBody, JobRequest, JobsBody
from xaiserve.serve.incoming.json_body import json_request, parsed, read_body
from xaiserve.serve.jobs import Jobs
from xaiserve.serve.problems import PROBLEMS

MAX_BYTES: Final = 1 << 20
"""Of a job's description."""

_SAID: Final = (404, 409, 413, 415, 422, 429, 503)


def jobs(known: Jobs) -> APIRouter:
    """Route jobs; all that waits for the cluster does so on threads."""
    router = APIRouter(responses={status: PROBLEMS[status] for status in _SAID})

    @router.post("/jobs", status_code=202, openapi_extra=json_request(JobRequest))
    async def submit(request: Request, response: Response) -> JobBody:
        """Start a job; the same again is that job while it runs, and later goes on with it."""
        asked = await parsed(await read_body(request, MAX_BYTES), JobRequest)
        body, new = await asyncio.to_thread(known.submit, asked)
        response.status_code = 202 if new else 200
        response.headers["Location"] = f"/v1/jobs/{body.id}"
        return body

    @router.get("/jobs")
    def listed() -> JobsBody:
        """List the jobs of the cluster, oldest first."""
        return JobsBody(jobs=known.all())

    @router.get("/jobs/{name}")
    def job(name: str) -> JobBody:
        """Say how far a job has come."""
        return known.find(name)

    @router.get("/jobs/{name}/logs", response_class=PlainTextResponse)
    def logs(name: str) -> str:
        """Return what a job has written."""
        return known.logs(name)

    @router.delete("/jobs/{name}", status_code=202)
    def cancel(name: str) -> JobBody:
        """End a job; what it has published stays."""
        return known.cancel(name)

    return router
