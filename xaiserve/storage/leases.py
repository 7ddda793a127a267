"""Leases in a store: numbered marks in a folder, of which the last says who may work.

A mark is written again and again while its holder lives, and holds for `LEASE_S` after that. The
next number is created once, so that of many who want a lease that has lapsed one gets it; on a
server that creates twice at the same moment, `renew` tells all of them but one.
"""

import json
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from xaiserve.errors import ArtifactNotFoundError, ConflictError
from xaiserve.storage.objects import ObjectStore, Stored, read_if_there

LEASE_S: Final = 20.0
"""How long a mark holds after it was last written; the clocks of machines must agree better."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The mark of one holder.

    Parameters
    ----------
    folder
        Where the marks lie, such as ``pending/ID/``.
    number
        From 1; 0 is for a mark that nobody holds.
    secret
        Tells it from another mark of this number, after all were removed in between.
    """

    folder: str
    number: int
    secret: str

    @property
    def key(self) -> str:
        return mark_key(self.folder, self.number)


def mark_key(folder: str, number: int) -> str:
    """Name a mark; names sort by number."""
    return f"{folder}{number:06}"


def number_of(mark: Stored) -> int:
    """Return the number in a mark's name."""
    return int(mark.key.rpartition("/")[2])


def is_held(mark: Stored, now: float | None = None) -> bool:
    """Say whether a mark was written lately enough; ``now`` in seconds since 1970."""
    return number_of(mark) > 0 and mark.modified > (time.time() if now is None else now) - LEASE_S


def take(
    store: ObjectStore, folder: str, marks: Sequence[Stored], told: Mapping[str, object]
) -> Lease | None:
    """Write the next mark after ``marks``; None when somebody else has just done so."""
    number = number_of(marks[-1]) + 1 if marks else 1
    lease = Lease(folder, number, secrets.token_hex(8))
    try:
        store.write(lease.key, _mark(lease, told), create_only=True)
    except ConflictError:
        return None
    return lease


def renew(store: ObjectStore, lease: Lease, told: Mapping[str, object]) -> bool:
    """Write the mark again; False, and nothing is written, when it is lost.

    It is once there is a later one, or this one was removed or is another's.
    """
    later = any(key > lease.key for key in store.list(lease.folder))
    if later or not _is_there(store, lease):
        return False
    store.write(lease.key, _mark(lease, told))
    return True


def release(store: ObjectStore, lease: Lease) -> None:
    """Remove the mark unless it is lost, so that another may work at once."""
    if _is_there(store, lease):
        with suppress(ArtifactNotFoundError):  # others remove as well
            store.remove(lease.key)


def _is_there(store: ObjectStore, lease: Lease) -> bool:
    written = read_if_there(store, lease.key)
    return written is not None and bool(json.loads(written)["secret"] == lease.secret)


def _mark(lease: Lease, told: Mapping[str, object]) -> bytes:
    return json.dumps({**told, "secret": lease.secret}).encode()
