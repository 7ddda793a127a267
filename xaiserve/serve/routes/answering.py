"""How an explain request is answered: at once, as events, or later; and once per key."""

from typing import Literal

from fastapi import Request, Response

from xaiserve.errors import InvalidInputError
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.incoming.query import owner_of
from xaiserve.serve.incoming.requests import ExplainRequest
from xaiserve.serve.kept.explanations import GRACE_S
from xaiserve.serve.kept.idempotency import HEADER, key_of
from xaiserve.serve.kept.result_ids import request_digest
from xaiserve.serve.routes.event_stream import event_stream, wants_events
from xaiserve.serve.routes.results import later
from xaiserve.serve.service import Service
from xaiserve.storage.results import digest_of

Mode = Literal["now", "events", "later"]


def mode_of(
    request: Request, service: Service, *, stream: bool, deferred: bool, seconds: float
) -> Mode:
    """Choose: later as well where the budget is more than a request may wait for.

    Raises
    ------
    InvalidInputError
        Events were asked for, and an answer that comes later.
    """
    events = stream or wants_events(request)
    if events and deferred:
        raise InvalidInputError("async and stream exclude each other, got both")
    if events:
        return "events"
    longer = service.results is not None and seconds > service.budget.max_seconds
    return "later" if deferred or longer else "now"


async def answer(
    service: Service, request: Request, model: str, asked: ExplainRequest, mode: Mode
) -> ExplainBody | Response:
    """Answer a request in the way that was chosen.

    Raises
    ------
    InvalidInputError
        What was asked for needs answers to be kept, and this service keeps none.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return await _answered(service, request, model, asked, mode)
    if mode == "events":
        raise InvalidInputError(f"{HEADER} is for answers in one piece, got a stream")
    if service.replays is None:
        raise InvalidInputError(f"{HEADER} needs a service that keeps its answers")

    async def make() -> Response:
        found = await _answered(service, request, model, asked, mode)
        if isinstance(found, Response):
            return found
        return Response(found.model_dump_json(), media_type="application/json")

    whose = digest_of([owner_of(request), key_of(key)])
    what = digest_of([request.url.path, mode, request_digest(asked, model)])
    seconds = (asked.limits.max_seconds or 0.0) + GRACE_S if mode == "now" else GRACE_S
    return await service.replays.once(whose, what, seconds, make)


async def _answered(
    service: Service, request: Request, model: str, asked: ExplainRequest, mode: Mode
) -> ExplainBody | Response:
    port = service.model(model)
    if mode == "events":
        return await event_stream(service.explanations.stream(model, port, asked))
    if mode == "now":
        return await service.explanations.explain(model, port, asked)
    if service.results is None:
        raise InvalidInputError("async needs a service that keeps its answers")
    return later(await service.results.accept(asked, model, owner_of(request)))
