"""Connections to a server that holds a model: retried, paced, several at once."""

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Final

import httpx

from xaiserve.backoff import RETRIED, Backoff, asked_wait_s
from xaiserve.errors import ClassifierFaultError, ModelUnavailableError

OPENING_S: Final = 5.0
"""How long a server is tried for before it has answered once: a wrong address is told soon."""

_REFUSED: Final = frozenset({401, 403, 404})
_SHOWN: Final = 300


class Pace:
    """Lets so many rows through in a second, over all threads.

    Parameters
    ----------
    rows_per_second
        No limit when none.
    """

    def __init__(
        self,
        rows_per_second: float | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rows_per_second
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()
        self._lock = threading.Lock()

    def take(self, rows: int) -> None:
        """Wait for the turn of ``rows``; those who come later wait behind them."""
        if self._rate is None:
            return
        with self._lock:
            now = self._clock()
            turn = max(now, self._free_at)
            self._free_at = turn + rows / self._rate
        if turn > now:
            self._sleep(turn - now)


class Connection:
    """Asks one server; any number of threads may.

    A request is repeated while the server cannot be reached, breaks off, or is full (429, 502, 503,
    504): scoring twice does no harm. Once a server has been given up, others wait for it no longer
    until it has answered again.

    Parameters
    ----------
    address
        The model's, for messages.
    patience_s
        How long one request is tried for.
    timeout_s
        How long one answer may take.
    headers
        Sent with every request.
    transport, sleep
        What takes their place in tests.
    """

    def __init__(
        self,
        address: str,
        *,
        patience_s: float,
        timeout_s: float,
        headers: Mapping[str, str],
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._address = address
        self._patience_s = patience_s
        self._sleep = sleep
        self._answered = False
        self._given_up = False
        self._client = httpx.Client(timeout=timeout_s, headers=headers, transport=transport)
        # Classifiers are not closed: their connections end with them.
        weakref.finalize(self, self._client.close)

    def get(self, url: str) -> httpx.Response:
        """Read what stands at ``url``; see `post`."""
        return self._ask(self._client.build_request("GET", url))

    def post(self, url: str, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Send ``content`` and return an answer of status 200.

        Raises
        ------
        ModelUnavailableError
            There is none in time, or the server does not hold the model or let us in.
        ClassifierFaultError
            It says that the request is wrong, or fails over it.
        """
        return self._ask(
            self._client.build_request("POST", url, content=content, headers=dict(headers))
        )

    def _ask(self, request: httpx.Request) -> httpx.Response:
        backoff = Backoff(self._patience())
        while True:
            asked_s: float | None = None
            try:
                answer = self._client.send(request)
            except httpx.TransportError as error:
                why = f"{type(error).__name__}: {error}".rstrip(": ")
            else:
                self._answered, self._given_up = True, False
                if answer.status_code not in RETRIED:
                    return self._checked(answer)
                asked_s = asked_wait_s(answer.headers)
                why = f"status {answer.status_code}: {_told(answer)}"
            wait_s = backoff.wait_s(asked_s)
            if wait_s is None:
                self._given_up = True
                raise ModelUnavailableError(f"{self._address} does not answer: {why}")
            self._sleep(wait_s)

    def _patience(self) -> float:
        if self._given_up:
            return 0.0
        return self._patience_s if self._answered else min(self._patience_s, OPENING_S)

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code == httpx.codes.OK:
            return answer
        told = f"{self._address} answered {answer.status_code}: {_told(answer)}"
        if answer.status_code in _REFUSED or answer.is_redirect:
            raise ModelUnavailableError(told)
        raise ClassifierFaultError(told)


def _told(answer: httpx.Response) -> str:
    """Find the server's own sentence: the protocol's member ``error``, or the beginning."""
    try:
        return str(answer.json()["error"])[:_SHOWN]
    except (ValueError, KeyError, TypeError):
        return answer.text[:_SHOWN].strip() or answer.reason_phrase
