"""Server-sent events: what is told of an explanation, as it comes."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.told import FoundBody, ProgressBody, Told
from xaiserve.serve.problems import problem_of

T = TypeVar("T")

MEDIA_TYPE: Final = "text/event-stream"

BEAT_S: Final = 10.0
"""After so long a silence a comment is sent, so that nobody on the way thinks the line is dead."""

REFUSED_S: Final = 1.0
"""What fails within this time is answered with its status; later, in the stream."""

_NAMES: Final[Mapping[type[Told], str]] = {
    ProgressBody: "progress",
    FoundBody: "explanation",
    ExplainBody: "final",
}

CONTENT: Final[dict[str, Any]] = {  # Any: OpenAPI
    MEDIA_TYPE: {
        "schema": {
            "type": "string",
            "description": "Events `progress` (ProgressBody), `explanation` (FoundBody), and at "
            "the end `final` (ExplainBody) or `problem` (ProblemBody); data is JSON in one line.",
        }
    }
}


class EventStream(StreamingResponse):
    """A response that closes what it tells as soon as nobody listens any more.

    Parameters
    ----------
    told
        What is told, begun; closed in the end, whether or not anybody has listened.
    first
        Waits for the first of it.
    beat_s
        The longest silence.
    """

    def __init__(
        self, told: AsyncGenerator[Told, None], first: asyncio.Future[Told], beat_s: float
    ) -> None:
        self._told = told
        self._upcoming = first
        self._events = self._as_text(beat_s)
        # Proxies must not keep events back until they have many.
        quick = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(self._events, media_type=MEDIA_TYPE, headers=quick)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with aclosing(self._events):
                await super().__call__(scope, receive, send)
        finally:
            # Not in the generator: whoever hangs up before the response begins leaves one that has
            # not begun either, and so ends nothing.
            await _end(self._told, self._upcoming)

    async def _as_text(self, beat_s: float) -> AsyncGenerator[str, None]:
        try:
            while True:
                await asyncio.wait({self._upcoming}, timeout=beat_s)
                if not self._upcoming.done():
                    yield ": still at work\n\n"
                    continue
                each = self._upcoming.result()
                self._upcoming = asyncio.ensure_future(anext(self._told))
                yield _event(_NAMES[type(each)], each.model_dump_json())
        except StopAsyncIteration:
            return
        except Exception as error:  # noqa: BLE001 -- told to the client, as everywhere
            yield _event("problem", json.dumps(problem_of(error).body))


def wants_events(request: Request) -> bool:
    """Say whether the client's ``Accept`` asks for events."""
    accepted = request.headers.get("accept", "").split(",")
    return MEDIA_TYPE in {each.partition(";")[0].strip().lower() for each in accepted}


async def event_stream(
    told: AsyncGenerator[Told, None], *, beat_s: float = BEAT_S, refused_s: float = REFUSED_S
) -> EventStream:
    """Answer with events; what fails at once is raised, so that it has its own status.

    Parameters
    ----------
    beat_s
        The longest silence.
    refused_s
        How long the first event is waited for before the response begins.
    """
    first = asyncio.ensure_future(anext(told))
    try:
        await asyncio.wait({first}, timeout=refused_s)
        if first.done():
            first.result()
    except BaseException:
        await _end(told, first)
        raise
    return EventStream(told, first, beat_s)


async def _end(told: AsyncGenerator[Told, None], upcoming: asyncio.Future[Told]) -> None:
    """Stop whatever is told; it cannot be closed while it is still asked for the next."""
    upcoming.cancel()
    await asyncio.gather(upcoming, return_exceptions=True)
    await told.aclose()


def _event(name: str, data: str) -> str:
    return f"event: {name}\ndata: {data}\n\n"
