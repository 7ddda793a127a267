"""The HTTP application, in plain FastAPI: what is behind the routes is injected."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext

from fastapi import FastAPI, Security
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer

import xaiserve
from xaiserve.dispatch.metrics import Meter, NoMeter
from xaiserve.serve import problems
from xaiserve.serve.access.guard import Guard, Guarded
from xaiserve.serve.incoming.request_ids import RequestIds
from xaiserve.serve.kept.idempotency import REPLAYED
from xaiserve.serve.observing.requests import Observed
from xaiserve.serve.routes.documentation import page
from xaiserve.serve.routes.health import health
from xaiserve.serve.routes.index import index
from xaiserve.serve.routes.jobs import jobs
from xaiserve.serve.routes.kserve import kserve
from xaiserve.serve.routes.lists import lists
from xaiserve.serve.routes.oip import oip
from xaiserve.serve.routes.questions import questions
from xaiserve.serve.routes.results import results
from xaiserve.serve.service import Service


def build_ingress(
    service: Service,
    *,
    guard: Guard | None = None,
    origins: Sequence[str] = (),
    meter: Meter | None = None,
) -> FastAPI:
    """Build the HTTP application.

    Parameters
    ----------
    guard
        Asks for API keys; everybody is let in when none.
    origins
        Web pages whose scripts may ask.
    meter
        Where numbers go; nowhere when none.
    """
    app = FastAPI(
        title="xaiserve",
        version=xaiserve.__version__,
        summary="Explains image classifiers.",
        lifespan=_lifespan(service),
        docs_url=None,
        redoc_url=None,
        # Says so in the document; what refuses is the guard.
        dependencies=[] if guard is None else [Security(HTTPBearer(auto_error=False))],
    )
    problems.install(app)
    _surround(app, guard, origins, meter or NoMeter())
    app.include_router(index(app, with_jobs=service.jobs is not None and service.jobs.possible))
    app.include_router(questions(service), prefix="/v1")
    app.include_router(lists(service), prefix="/v1")
    app.include_router(kserve(service), prefix="/v1")
    app.include_router(oip(service))
    app.include_router(health(service))
    if service.jobs is not None:
        app.include_router(jobs(service.jobs), prefix="/v1")
    if service.results is not None:
        app.include_router(results(service.results), prefix="/v1")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))

    return app


def _lifespan(service: Service) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Work on pending results while the application lives."""
    pending = service.results
    return lambda _: nullcontext() if pending is None else pending.at_work()


def _surround(app: FastAPI, guard: Guard | None, origins: Sequence[str], meter: Meter) -> None:
    """Put what every request passes around the routes, the innermost first."""
    if guard is not None:
        app.add_middleware(Guarded, guard=guard)
    if origins:  # outside of the guard: a browser asks without the key whether it may send it
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-Request-ID"],
            expose_headers=["X-Request-ID", "Retry-After", "Location", REPLAYED],
        )
    app.add_middleware(Observed, meter=meter, paths=lambda: app.openapi()["paths"])
    app.add_middleware(RequestIds)
