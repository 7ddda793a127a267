"""ASGI middleware that counts, times and logs each request; plain, so that streams pass."""

import logging
import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from xaiserve.dispatch.metrics import Meter
from xaiserve.serve.access.keys import ApiKey
from xaiserve.serve.observing import metrics

_log = logging.getLogger("xaiserve.requests")

NO_ROUTE: Final = "none"
"""The path of a request that no route takes: what clients make up must not become labels."""

_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})

_FAULT: Final = 500
_GONE: Final = 499
"""A client that hung up before anything was answered, as proxies count it."""


class Observed:
    """Watches what is inside of it."""

    def __init__(self, app: ASGIApp, meter: Meter) -> None:
        self._app = app
        self._meter = meter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), _GONE

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            status = _FAULT  # the last handler, outside of us, answers so
            raise
        finally:
            self._note(scope, status, time.monotonic() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = _route(scope)
        method = scope["method"] if scope["method"] in _METHODS else NO_ROUTE
        self._meter.count(metrics.REQUESTS, path=path, method=method, status=str(status))
        self._meter.observe(metrics.REQUEST_SECONDS, seconds, path=path)
        told = {"method": method, "path": path, "status": status, "seconds": round(seconds, 4)}
        key = scope.get("state", {}).get("api_key")
        if isinstance(key, ApiKey):
            told["key"] = key.id
        _log.info("request", extra={"fields": told})


def _route(scope: Scope) -> str:
    """Return the pattern of the path that a route has taken, such as ``/v1/models/{name}``."""
    # FastAPI keeps the whole path beside the route of an included router, which has its own part.
    whole = scope.get("fastapi", {}).get("effective_route_context")
    return str(getattr(whole or scope.get("route"), "path", NO_ROUTE))
