"""What Serve's proxy answers before the service is there, and while it stops.

Serve takes the route away first and lets requests in flight finish after; what comes meanwhile
reaches none of our replicas, and the proxy's own answer is a 404 in plain text. The proxy calls
`middlewares` when it starts, where ``prepare_environment`` has named it.
"""

from typing import Final

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xaiserve.serve.incoming.request_ids import HEADER, set_request_id
from xaiserve.serve.problem_details import UNAVAILABLE_RETRY_S, Kind, Problem, response_to

NOT_SERVING: Final = Problem(
    kind=Kind(503, "not-serving", "The service is not there"),
    detail="the service is stopping or has not started yet; come back later",
    retry_after_s=UNAVAILABLE_RETRY_S,
)

_NOT_FOUND: Final = 404


def middlewares() -> list[Middleware]:
    """Return what the proxy puts around itself."""
    return [Middleware(NotServing)]


class NotServing:
    """ASGI middleware of a proxy whose one application has the route ``/``.

    It answers 503 where the proxy has no route. Replicas answer 404 as well, in JSON.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        replaced = False

        async def replacing(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and _has_no_route(message):
                replaced = True
                await _answer(scope["path"], message)(scope, receive, send)
            elif not replaced:
                await send(message)

        await self._app(scope, receive, replacing)


def _answer(path: str, start: Message) -> JSONResponse:
    """Say so under the id that the proxy gave the request."""
    told = Headers(raw=start["headers"]).get(HEADER, "")
    set_request_id(told)
    response = response_to(path, NOT_SERVING)
    response.headers[HEADER] = told
    return response


def _has_no_route(start: Message) -> bool:
    kind = Headers(raw=start["headers"]).get("content-type", "")
    return start["status"] == _NOT_FOUND and kind.startswith("text/plain")
