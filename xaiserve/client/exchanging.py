"""How a question to the service is carried out, as a flow of steps; no connections.

A call is carried out by `exchange`, a generator that says what to send and how long to wait, and is
sent what came back; the two clients are its two drivers.
"""

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import httpx

from xaiserve.backoff import RETRIED, Backoff, asked_wait_s
from xaiserve.client.problems import ServiceError, broken, error_of
from xaiserve.errors import (
    InvalidInputError,
    ModelUnavailableError,
    NotFoundError,
    QueryBudgetError,
    XaiServeError,
)

T = TypeVar("T")

Files = dict[str, tuple[str, bytes]]
Params = dict[str, str]

TIMEOUT_S: Final = 330.0
CONNECT_S: Final = 10.0
PATIENCE_S: Final = 60.0

_NO_CONTENT: Final = 204
_LOST: Final = frozenset({502, 504})
"""Statuses of a proxy under which the service may have done what was asked."""

POLL_S: Final = 2.0
"""How long to wait between two looks at a result that is put off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[T]):
    """One question.

    Parameters
    ----------
    json
        What is sent as JSON.
    is_json
        Whether the answer is; else it is text.
    is_removal
        Whether it is done as well when nothing is there any more, the answer to it being lost.
    read
        Makes the result of a success's status and body.
    """

    verb: str
    path: str
    params: Params = field(default_factory=dict)
    files: Files = field(default_factory=dict)
    json: Mapping[str, Any] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    is_json: bool = True
    is_removal: bool = False
    read: Callable[[int, Any], T]  # Any: JSON


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Send:
    """Send a call once."""

    call: Call[Any]  # Any: whatever it reads


Step = Send | Wait
Reply = httpx.Response | httpx.TransportError | None
"""What came back of a `Send`; none of a `Wait`."""


Flow = Generator[Step, Reply, T]


def checked_address(url: str) -> str:
    """Return the address of a service as it is.

    Raises
    ------
    InvalidInputError
        It is none of HTTP, and nothing could ever answer there.
    """
    if not url.lower().startswith(("http://", "https://")):
        raise InvalidInputError(f"url must be http://HOST:PORT or https://HOST, got {url!r}")
    return url


def exchange(call: Call[T], backoff: Backoff) -> Flow[T]:
    """Carry out a call: again while the service is away or full, until the patience is spent.

    All that this client asks may be asked twice: equal questions have equal answers.

    Raises
    ------
    XaiServeError
        What the service refuses; `ModelUnavailableError` where it does not answer at all,
        `ServiceError` where its answer cannot be read.
    """
    lost = False
    while True:
        reply = yield Send(call)
        if isinstance(reply, httpx.Response) and reply.is_success:
            return _read(call, reply)
        if lost and call.is_removal and _is_absent(reply):
            return call.read(_NO_CONTENT, None)
        lost = lost or not isinstance(reply, httpx.Response) or reply.status_code in _LOST
        yield Wait(_wait_s(reply, backoff))


def _read(call: Call[T], reply: httpx.Response) -> T:
    if not call.is_json:
        return call.read(reply.status_code, reply.text)
    try:
        return call.read(reply.status_code, json.loads(reply.content or b"null"))
    except (ValueError, LookupError, TypeError) as error:
        raise broken(
            f"{call.path} was answered {reply.status_code} with {reply.text!r:.100}"
        ) from error


def _is_absent(reply: Reply) -> bool:
    if not isinstance(reply, httpx.Response):
        return False
    error = error_of(reply.status_code, reply.headers, reply.content)
    return isinstance(error, NotFoundError)


def opened(call: Call[T], patience_s: float) -> Flow[httpx.Response]:
    """Send a call until its answer has begun; what is in it is the driver's to read."""
    backoff = Backoff(patience_s)
    while True:
        reply = yield Send(call)
        if isinstance(reply, httpx.Response) and reply.is_success:
            return reply
        yield Wait(_wait_s(reply, backoff))


def _wait_s(reply: Reply, backoff: Backoff) -> float:
    """Say how long to wait after a reply that is no success, or raise its error."""
    assert reply is not None  # noqa: S101 -- drivers answer a Send
    asked_s: float | None = None
    if isinstance(reply, httpx.Response):
        error = error_of(reply.status_code, reply.headers, reply.content)
        asked_s = asked_wait_s(reply.headers)
        again = reply.status_code in RETRIED and not _stays(error, asked_s)
    else:
        error, again = _away(reply), True
    wait_s = backoff.wait_s(asked_s) if again else None
    if wait_s is None:
        raise error
    return wait_s


def _stays(error: XaiServeError, asked_s: float | None) -> bool:
    """Say whether asking again is in vain: the budget is spent, or the service runs no jobs."""
    runs_no_jobs = isinstance(error, ServiceError) and error.kind == "no-jobs" and asked_s is None
    return runs_no_jobs or isinstance(error, QueryBudgetError)


def _away(error: httpx.TransportError) -> ModelUnavailableError:
    told = f"{type(error).__name__}: {error}".rstrip(": ")
    return ModelUnavailableError(f"the service does not answer: {told}")


def path_of(*names: str) -> str:
    """Join a path of the service; each name stays one part of it.

    Raises
    ------
    InvalidInputError
        A name that no path can hold: an empty one, ``.`` or ``..``.
    """
    if unfit := {"", ".", ".."} & {*names}:
        raise InvalidInputError(f"a name must not be empty, '.' or '..', got {min(unfit)!r}")
    return "/v1/" + "/".join(quote(name, safe="") for name in names)


@contextmanager
def cut_off_is_told() -> Iterator[None]:
    """Raise as one of ours what ends a stream before its end."""
    try:
        yield
    except httpx.TransportError as error:
        raise _away(error) from error


def request_of(call: Call[Any], build: Callable[..., httpx.Request]) -> httpx.Request:
    """Make the request of a call, with what a client adds to each."""
    return build(
        call.verb,
        call.path,
        params=call.params,
        files=call.files or None,
        json=call.json,
        headers=dict(call.headers),
    )
