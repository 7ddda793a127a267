"""Pictures that a request names by address: fetched only from where the operator has allowed.

A client's word must not make the service read its own files, reach into its network or follow
somebody else's redirect. So: a list of allowed beginnings, empty by default; https and s3 only; one
name look-up whose result is checked and connected to; no redirects; so many bytes, so many seconds.
"""

import asyncio
import http.client
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final
from urllib.parse import SplitResult, urlsplit

from typing_extensions import override

from xaiserve.errors import (
    ArtifactNotFoundError,
    InvalidInputError,
    StoreUnavailableError,
    TooLargeError,
)
from xaiserve.serve.incoming.addresses import LookUp, choose, look_up
from xaiserve.serve.incoming.places import begins, key_of, port_of, shown
from xaiserve.serve.settings import Sources
from xaiserve.storage.opening import open_store

THREADS: Final = 8
"""Pictures that are fetched at once in one ingress replica; others wait within their time."""

_PIECE: Final = 1 << 16
_OK: Final = 200
_NOT_THERE: Final = frozenset({401, 403, 404, 410})


Connect = Callable[[tuple[str, int], float], socket.socket]


class Fetcher:
    """Fetches pictures from allowed places.

    Parameters
    ----------
    sources
        What is allowed; nothing when none.
    look_up
        Finds a host's addresses.
    trust
        Certificates that count; the system's when none.
    connect
        Makes the connection.
    """

    def __init__(
        self,
        sources: Sources | None = None,
        *,
        look_up: LookUp = look_up,
        trust: ssl.SSLContext | None = None,
        connect: Connect = socket.create_connection,
    ) -> None:
        self._sources = sources or Sources()
        self._look_up = look_up
        self._trust = trust
        self._connect = connect
        self._late = f"was not fetched within {self._sources.timeout_s:g} s"
        # Threads of its own: slow servers must not take those that all else is done on.
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="fetch")

    async def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Read what lies at an address, whole.

        Raises
        ------
        InvalidInputError
            It is not an address of an allowed place.
        ArtifactNotFoundError
            Nothing is there, or not for us.
        TooLargeError
            It has more than ``max_bytes``.
        StoreUnavailableError
            Its server does not answer, or not in time.
        """
        parts = self._checked(uri)
        read = _s3 if parts.scheme == "s3" else self._https
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._sources.timeout_s):
                return await loop.run_in_executor(self._threads, read, parts, max_bytes)
        except TimeoutError as error:
            raise StoreUnavailableError(f"{shown(parts)} {self._late}") from error

    def close(self) -> None:
        """Wait for what is being fetched."""
        self._threads.shutdown()

    def _checked(self, uri: str) -> SplitResult:
        """Split an address of an allowed place."""
        if not uri.isascii() or not uri.isprintable() or " " in uri or "\\" in uri:
            raise InvalidInputError("the address must be percent-encoded, without spaces")
        try:
            parts = urlsplit(uri)
            _ = parts.port
        except ValueError as error:
            raise InvalidInputError(f"that is no address: {error}") from error
        if not any(begins(parts, urlsplit(place)) for place in self._sources.allowed):
            raise InvalidInputError(
                "the address must lie in a place that this service fetches from (its setting "
                f"sources.allowed), got {shown(parts)}"
            )
        return parts

    def _https(self, parts: SplitResult, max_bytes: int) -> bytes:
        host, port = parts.hostname or "", port_of(parts)
        private = host in self._sources.private_hosts
        address = choose(host, port, is_private=private, look_up=self._look_up)
        seconds = self._sources.timeout_s
        connection = _Connection(
            host, port, partial(self._connect, (address, port), seconds), self._trust
        )
        # Socket time-outs begin again with each byte; a server that drips them is cut off whole.
        end = threading.Timer(seconds, connection.abort)
        end.start()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("GET", target, headers={"User-Agent": "xaiserve", "Accept": "*/*"})
            with connection.getresponse() as answer:
                data = _body(answer, parts, max_bytes)
        except (OSError, http.client.HTTPException) as error:
            why = self._late if connection.aborted else "cannot be fetched"
            raise StoreUnavailableError(f"{shown(parts)} {why}") from error
        finally:
            end.cancel()
            connection.close()
        if connection.aborted:
            raise StoreUnavailableError(f"{shown(parts)} {self._late}")
        return data


class _Connection(http.client.HTTPSConnection):
    """To an address that was looked up before; the certificate must be the host's."""

    def __init__(
        self,
        host: str,
        port: int,
        connect: Callable[[], socket.socket],
        trust: ssl.SSLContext | None,
    ) -> None:
        super().__init__(host, port)
        self._connect = connect
        self._trust = trust or ssl.create_default_context()
        # Beside ``sock``, which is let go as soon as an answer begins that ends with it.
        self._open: ssl.SSLSocket | None = None
        self.aborted = False

    @override
    def connect(self) -> None:
        self._open = self._trust.wrap_socket(
            self._connect(), server_hostname=self.host, do_handshake_on_connect=False
        )
        self.sock = self._open
        self._open.do_handshake()

    def abort(self) -> None:
        """End whatever another thread waits for; it sees an error or the end of the body."""
        self.aborted = True
        if self._open is not None:
            with suppress(OSError):  # it has ended by itself
                # Not the method of TLS sockets, which takes TLS from under who reads.
                socket.socket.shutdown(self._open, socket.SHUT_RDWR)


def _body(answer: http.client.HTTPResponse, parts: SplitResult, max_bytes: int) -> bytes:
    if answer.status in _NOT_THERE:
        raise ArtifactNotFoundError(f"{shown(parts)} does not exist, or not for this service")
    if answer.status != _OK:
        redirect = answer.getheader("Location") is not None
        why = "; redirects are not followed" if redirect else ""
        raise StoreUnavailableError(f"{shown(parts)} was answered {answer.status}{why}")
    pieces, size = [], 0
    for piece in iter(partial(answer.read1, _PIECE), b""):
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise _too_large(parts, max_bytes)
    if answer.length:
        raise StoreUnavailableError(f"{shown(parts)} ended {answer.length} bytes early")
    return b"".join(pieces)


def _s3(parts: SplitResult, max_bytes: int) -> bytes:
    key = key_of(parts)
    store = open_store(f"s3://{parts.netloc}")
    if store.size(key) > max_bytes:
        raise _too_large(parts, max_bytes)
    return store.read_range(key, 0, max_bytes)


def _too_large(parts: SplitResult, max_bytes: int) -> TooLargeError:
    return TooLargeError(f"{shown(parts)} must be at most {max_bytes} bytes")
