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


def index(app: FastAPI) -> APIRouter:
    """Route the index of what ``app`` has."""
    router = APIRouter()

    @router.get("/")
    async def about() -> IndexBody:
        """Say what this service is, and where to look further."""
        there = app.openapi()["paths"]
        return IndexBody(
            name=app.title,
            version=app.version,
            about=app.summary or "",
            links=_PAGES | {name: path for name, path in _ROUTES.items() if path in there},
        )

    return router
