"""The HTTP application, in plain FastAPI: what is behind the routes is injected."""

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

import xaiserve
from xaiserve.serve import problems
from xaiserve.serve.documentation import page
from xaiserve.serve.routes.health import health
from xaiserve.serve.routes.lists import lists
from xaiserve.serve.routes.questions import questions
from xaiserve.serve.service import Service


def build_ingress(service: Service) -> FastAPI:
    """Build the HTTP application."""
    app = FastAPI(
        title="xaiserve",
        version=xaiserve.__version__,
        summary="Explains image classifiers.",
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    app.include_router(questions(service), prefix="/v1")
    app.include_router(lists(service), prefix="/v1")
    app.include_router(health(service))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))

    return app
