"""Each request's id: the client's own or a new one, for logs and problems."""

import re
import uuid
from contextvars import ContextVar
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER: Final = "x-request-id"

_PLAIN: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""What may stand in a log line as it came."""

_current: ContextVar[str] = ContextVar("request_id", default="")


def request_id() -> str:
    """Return the id of the request that this task works for; empty outside of one."""
    return _current.get()


def set_request_id(given: str) -> None:
    """Work for this request from here on: for a process that another has asked."""
    _current.set(given)


class RequestIds:
    """ASGI middleware that reads the id, or makes one and tells it.

    An id that came is told by whoever passed it on: Serve's proxy does so for every request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        came = Headers(scope=scope).get(HEADER)
        own = came if came and _PLAIN.fullmatch(came) else uuid.uuid4().hex
        # Not reset: the last handler of errors is outside, and each request has its own context.
        _current.set(own)

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start" and came is None:
                MutableHeaders(scope=message)[HEADER] = own
            await send(message)

        await self._app(scope, receive, telling)
