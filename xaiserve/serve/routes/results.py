"""``/v1/results``: answers that are fetched later."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.results import ResultBody, ResultsBody
from xaiserve.serve.incoming.query import owner_of
from xaiserve.serve.kept.result_store import Ended
from xaiserve.serve.kept.results import Results
from xaiserve.serve.problems import PROBLEMS

POLL_S: Final = 2
"""What a client is told to wait before it asks again."""

LATER: Final[dict[int | str, dict[str, Any]]] = {  # Any: FastAPI's own type
    202: {"model": ResultBody, "description": "Not ready yet; Location says where it will be"}
}


def results(kept: Results) -> APIRouter:
    """Route results."""
    router = APIRouter(responses={status: PROBLEMS[status] for status in (404, 422, 503)})

    @router.get("/results")
    async def listed(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        before: Annotated[
            str | None, Query(description="``next`` of the page before; newest first.")
        ] = None,
    ) -> ResultsBody:
        """List the results that were asked for with this API key."""
        return await kept.list(owner_of(request), limit=limit, before=before)

    @router.get("/results/{name}", response_model=ExplainBody, responses=LATER)
    async def result(request: Request, name: str) -> Response:
        """Fetch an answer, or see how far it is; what failed is answered as it would have been."""
        found = await kept.fetch(name, owner_of(request))
        if isinstance(found, Ended):
            return Response(found.body, found.status, media_type=found.media_type)
        return later(found)

    @router.delete("/results/{name}", status_code=204)
    async def forget(request: Request, name: str) -> Response:
        """Cancel a result, or remove its answer and its picture."""
        await kept.forget(name, owner_of(request))
        return Response(status_code=204)

    return router


def later(body: ResultBody) -> JSONResponse:
    """Answer with where the result will be."""
    headers = {"Location": body.url, "Retry-After": str(POLL_S)}
    return JSONResponse(body.model_dump(), 202, headers)
