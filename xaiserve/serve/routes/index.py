"""``/``: what this service is, and where to look further."""

from typing import Final

from fastapi import APIRouter, FastAPI

from xaiserve.serve.bodies.lists import IndexBody

_PAGES: Final = {"docs": "/docs", "openapi": "/openapi.json"}

_ROUTES: Final = {
    "health": "/healthz",
    "ready": "/readyz",
    "models": "/v1/models",
    "methods": "/v1/methods",
    "results": "/v1/results",
    "jobs": "/v1/jobs",
    "open_inference_protocol": "/v2",
}


def index(app: FastAPI, *, with_jobs: bool) -> APIRouter:
    """Route the index of what ``app`` has; routes of jobs are there without jobs, to say why."""
    router = APIRouter()

    @router.get("/")
    async def about() -> IndexBody:
        """Say what this service is, and where to look further."""
        there = set(app.openapi()["paths"])
        if not with_jobs:
            there.discard(_ROUTES["jobs"])
        return IndexBody(
            name=app.title,
            version=app.version,
            about=app.summary or "",
            links=_PAGES | {name: path for name, path in _ROUTES.items() if path in there},
        )

    return router
