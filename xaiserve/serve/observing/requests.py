"""ASGI middleware that counts, times and logs each request; plain, so that streams pass."""

import logging
import re
import time
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Final

from starlette._utils import get_route_path
from starlette.routing import compile_path
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
    """Watches what is inside of it.

    Parameters
    ----------
    paths
        Gives the patterns of all paths, for requests that are refused before a route takes them.
    """

    def __init__(
        self, app: ASGIApp, meter: Meter, paths: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self._app = app
        self._meter = meter
        self._paths = paths

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
        path = _route(scope) or self._meant(get_route_path(scope))
        method = scope["method"] if scope["method"] in _METHODS else NO_ROUTE
        self._meter.count(metrics.REQUESTS, path=path, method=method, status=str(status))
        self._meter.observe(metrics.REQUEST_SECONDS, seconds, path=path)
        told = {"method": method, "path": path, "status": status, "seconds": round(seconds, 4)}
        key = scope.get("state", {}).get("api_key")
        if isinstance(key, ApiKey):
            told["key"] = key.id
        _log.info("request", extra={"fields": told})

    def _meant(self, path: str) -> str:
        """Return the pattern that would have taken a path."""
        return next((known for known, form in self._forms.items() if form.match(path)), NO_ROUTE)

    @cached_property
    def _forms(self) -> dict[str, re.Pattern[str]]:
        # The longest first: {name}:predict is a name as well.
        return {
            path: compile_path(path)[0] for path in sorted(self._paths(), key=len, reverse=True)
        }


def _route(scope: Scope) -> str | None:
    """Return the pattern of the path that a route has taken, such as ``/v1/models/{name}``."""
    # FastAPI keeps the whole path beside the route of an included router, which has its own part.
    whole = scope.get("fastapi", {}).get("effective_route_context")
    return getattr(whole or scope.get("route"), "path", None)
