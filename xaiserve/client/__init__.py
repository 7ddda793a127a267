"""A client of the service; it needs neither torch nor ray.

::

    from xaiserve.client import Client

    with Client("http://localhost:8000", api_key="...") as client:
        found = client.explain("photo.png", model="embedded", method="multirex")
        found.explanations[0].mask  # bool (h, w)

`AsyncClient` has the same methods, to be awaited. What the service refuses is raised as an error of
`xaiserve.errors`; what has no place there, as `ServiceError`.
"""

from xaiserve.client.async_client import AsyncClient
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
