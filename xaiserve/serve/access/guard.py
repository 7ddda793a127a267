"""Who may ask what: API keys in front of every route but health."""

import logging
import re
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Final

from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from xaiserve.errors import KeyLimitError, XaiServeError
from xaiserve.serve.access import keys
from xaiserve.serve.access.keys import SCOPES, ApiKey, KeyFile, read_keys, utc_now
from xaiserve.serve.access.quotas import Quota
from xaiserve.serve.problem_details import Kind, Problem, response_to
from xaiserve.serve.problems import problem_of

_log = logging.getLogger(__name__)

NO_KEY: Final = Kind(401, "unauthorized", "A valid API key is needed")
NOT_ALLOWED: Final = Kind(403, "forbidden", "The API key does not allow this")

OPEN: Final = re.compile(r"/healthz|/readyz|/v2/health/(live|ready)")
"""What load balancers ask, without a key."""

_SCOPES: Final[tuple[tuple[re.Pattern[str], keys.Scope], ...]] = (
    (re.compile(r"(?s)/v1/jobs(/.*)?"), "jobs"),
    (re.compile(r"(?s)/v1/(explain|results)(/.*)?|.*:explain"), "explain"),
    (re.compile(r"(?s)/v1/predict(/.*)?|.*:predict|/v2/models/.*/infer"), "predict"),
)
_READING: Final = frozenset({"GET", "HEAD"})

REREAD_S: Final = 5.0
"""How long a revoked key may go on, and a new one wait."""


def scopes_of(method: str, path: str) -> tuple[keys.Scope, ...]:
    """Say what a key must allow for a request: all, for a change that no pattern names."""
    routed = path.removesuffix("\n")  # as routes take it: each ends with "$"
    for pattern, scope in _SCOPES:
        if pattern.fullmatch(routed):
            return (scope,)
    return () if method in _READING else SCOPES


class Guard:
    """The keys of one ingress replica, read again when their file changes.

    Parameters
    ----------
    path
        The key file.
    share
        How much of each key's limits this replica gives.

    Raises
    ------
    InvalidInputError, NotFoundError
        The file cannot be read.
    """

    def __init__(
        self,
        path: Path,
        *,
        share: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._path = path
        self._share = share
        self._clock = clock
        self._now = now
        self._mark = self._marked()
        self._file: KeyFile = read_keys(path)
        self._looked = clock()
        self._quotas: dict[str, tuple[ApiKey, Quota]] = {}

    def key_of(self, authorization: str) -> ApiKey | Problem:
        """Return the key that a request came with, or why it goes no further."""
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer" or not text:
            return Problem(kind=NO_KEY, detail="send 'Authorization: Bearer KEY'")
        self._reread()
        key = self._file.find(text.strip(), self._now())
        if key is None:
            return Problem(kind=NO_KEY, detail="the API key is unknown, expired or revoked")
        return key

    def quota(self, key: ApiKey) -> Quota:
        """Return what the key has left; changed limits begin afresh."""
        held = self._quotas.get(key.id)
        if held is None or held[0] != key:
            held = key, Quota(key, share=self._share, clock=self._clock)
            self._quotas[key.id] = held
        return held[1]

    def _reread(self) -> None:
        if self._clock() - self._looked < REREAD_S:
            return
        self._looked = self._clock()
        mark = self._marked()
        if mark == self._mark:
            return
        self._mark = mark
        try:
            self._file = read_keys(self._path)
        except XaiServeError as error:
            _log.error("the keys read before go on: %s", error)

    def _marked(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


class Guarded:
    """ASGI middleware that lets requests in whose key allows them; plain, so that streams pass."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = "" if scope["type"] == "lifespan" else get_route_path(scope)
        if scope["type"] == "lifespan" or OPEN.fullmatch(path):
            await self._app(scope, receive, send)
            return
        key = self._guard.key_of(Headers(scope=scope).get("authorization", ""))
        if isinstance(key, Problem):
            await _refuse(path, key, scope, receive, send)
            return
        scope.setdefault("state", {})["api_key"] = key  # the log names it, of a refusal too
        refusal = _refusal(key, scope.get("method", ""), path)
        if refusal is not None:
            await _refuse(path, refusal, scope, receive, send)
            return
        with ExitStack() as held:
            try:
                held.enter_context(self._guard.quota(key).one())
            except KeyLimitError as error:
                await _refuse(path, problem_of(error), scope, receive, send)
                return
            await self._app(scope, receive, send)


def _refusal(key: ApiKey, method: str, path: str) -> Problem | None:
    """Say why a key does not allow a request, if so."""
    missing = sorted(set(scopes_of(method, path)) - set(key.scopes))
    if not missing:
        return None
    detail = f"key {key.name!r} lacks the scope {', '.join(missing)} for {method} {path}"
    return Problem(kind=NOT_ALLOWED, detail=detail)


async def _refuse(path: str, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    response = response_to(path, problem)
    if problem.kind is NO_KEY:
        response.headers["WWW-Authenticate"] = "Bearer"
    await response(scope, receive, send)
