"""A client of the service; it needs neither torch nor ray.

::

    from xaiserve.client import Client

    with Client("http://localhost:8000", api_key="...") as client:
        found = client.explain("photo.png", model="embedded", method="multirex")
        found.explanations[0].mask  # bool (h, w)

        job = client.submit_job(
            kind="explain", images="s3://in/set.csv", out="s3://out/job", model="embedded",
            methods=["multirex"], scores=["insertion"],
        )
        client.wait_for_job(job.id, tell=print)

`AsyncClient` has the same methods, to be awaited. What the service refuses is raised as an error of
`xaiserve.errors`; what has no place there, as `ServiceError`.
"""

from xaiserve.client.async_client import AsyncClient
from xaiserve.client.jobs import Job, JobProgress, JobWish
from xaiserve.client.problems import ServiceError
from xaiserve.client.results import (
    Explanation,
    Found,
    Method,
    Model,
    Part,
    Pending,
    Prediction,
    Progress,
    Saliency,
    Score,
)
from xaiserve.client.sync_client import Client

__all__ = [
    "AsyncClient",
    "Client",
    "Explanation",
    "Found",
    "Job",
    "JobProgress",
    "JobWish",
    "Method",
    "Model",
    "Part",
    "Pending",
    "Prediction",
    "Progress",
    "Saliency",
    "Score",
    "ServiceError",
]
