"""Whether an address lies in a place that an operator has allowed, however it is written."""

import re
from typing import Final
from urllib.parse import SplitResult, unquote

from xaiserve.errors import InvalidInputError

HTTPS_PORT: Final = 443

_ROUNDS: Final = 4
"""How often a path may be percent-encoded; no server decodes it as often."""

_LEAVES: Final = re.compile(r"(?:^|[/\\;])[\0- ]*\.\.?[\0- ]*(?:[/\\;?#]|\Z)")
"""A name ``.`` or ``..`` to some server: after a backslash, with a parameter, with blanks."""


def begins(parts: SplitResult, place: SplitResult) -> bool:
    """Say whether an address lies in an allowed place: the same server, below its path.

    Servers differ in what a path means; one that leaves the place for any of them lies not in it.
    Buckets are compared as they are written, hosts without regard to case.
    """
    if _server(parts) != _server(place) or _may_leave(parts.path):
        return False
    path, above = parts.path, place.path
    if parts.scheme == "s3":
        path, above = unquote(path), unquote(above)
    return path.startswith(above.rstrip("/") + "/") and "%2f" not in parts.path.lower()


def key_of(parts: SplitResult) -> str:
    """Return the key that an ``s3://`` address names, decoded.

    Raises
    ------
    InvalidInputError
        It is no UTF-8.
    """
    try:
        return unquote(parts.path, errors="strict").lstrip("/")
    except UnicodeDecodeError as error:
        raise InvalidInputError("the address must be percent-encoded UTF-8") from error


def shown(parts: SplitResult) -> str:
    """Leave out what may be secret: user, password and query."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def port_of(parts: SplitResult) -> int:
    """Return the port that an address names, or that of https."""
    return parts.port or HTTPS_PORT


def _server(parts: SplitResult) -> tuple[object, ...]:
    if parts.scheme == "s3":
        return parts.scheme, parts.netloc
    return parts.scheme, parts.hostname, port_of(parts), parts.username, parts.password


def _may_leave(path: str) -> bool:
    for _ in range(_ROUNDS):
        if _LEAVES.search(path):
            return True
        encoded, path = path, unquote(path)
        if encoded == path:
            return False
    return True
