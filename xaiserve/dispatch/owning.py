"""An output has one owner: the driver that works on it, signed in the folder ``_owner``.

An owner holds a lease, `LEASE_S` long, which it renews while it works. Whether one on this machine
lives is asked of the system besides, so that the output of a process that was killed is free at
once. Rows do not depend on it: they are published once, whoever works on them; an owner keeps a
second driver from computing them all again.
"""

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Final

from xaiserve.dispatch.owner import Owner
from xaiserve.errors import (
    ArtifactNotFoundError,
    ConflictError,
    JobStoppedError,
    XaiServeError,
)
from xaiserve.storage import leases
from xaiserve.storage.leases import LEASE_S, Lease
from xaiserve.storage.objects import ObjectStore, Stored, read_if_there

FOLDER: Final = "_owner/"
RENEW_S: Final = 4.0

_LOOK_S: Final = 1.0
_LOG: Final = logging.getLogger(__name__)


class Ownership:
    """The right to work on an output, renewed in a thread; made by `owned`."""

    def __init__(self, store: ObjectStore, lease: Lease, owner: Owner) -> None:
        self.lost = False
        self._store = store
        self._lease = lease
        self._owner = owner
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="owner", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Stop a driver that was silent for so long that another has taken over.

        Raises
        ------
        JobStoppedError
            That is so.
        """
        if self.lost:
            raise JobStoppedError(
                f"output {self._store.uri} was taken over by another process, as this one was not "
                f"heard of for {LEASE_S:g} s; the job goes on there"
            )

    def end(self) -> None:
        """Give the output back, unless it is another's by now."""
        self._ended.set()
        self._thread.join()
        with suppress(XaiServeError):  # a lost store: then the lease lapses
            leases.release(self._store, self._lease)

    def _renew(self) -> None:
        while not self._ended.wait(RENEW_S):
            try:
                self.lost = not leases.renew(self._store, self._lease, self._owner.to_json())
            except Exception as error:  # noqa: BLE001 -- the next try may be luckier
                _LOG.warning("the lease on %s is not renewed: %s", self._store.uri, error)
            if self.lost:
                return


@contextmanager
def owned(
    store: ObjectStore,
    wait: Callable[[str], None] = lambda _: None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Ownership]:
    """Own an output while the block runs.

    An owner on another machine that is silent, and may be dead, is waited for until its lease has
    lapsed.

    Parameters
    ----------
    wait
        Told in a sentence what is waited for.

    Raises
    ------
    ConflictError
        A process that lives works on it.
    """
    ownership = _taken(store, wait, sleep)
    try:
        yield ownership
    finally:
        ownership.end()


def is_owned(store: ObjectStore) -> bool:
    """Say whether a process works on an output that lives, or may live."""
    marks = store.describe(FOLDER)
    data = _last(store, marks)
    if data is None:
        return False
    return leases.is_held(marks[-1]) and Owner.from_json(json.loads(data)).lives is not False


def _taken(
    store: ObjectStore, wait: Callable[[str], None], sleep: Callable[[float], None]
) -> Ownership:
    seen: Stored | None = None
    while True:
        marks = store.describe(FOLDER)
        data = _last(store, marks)
        owner = None if data is None else Owner.from_json(json.loads(data))
        lives = owner is not None and owner.lives
        works = lives and leases.is_held(marks[-1])
        if owner is not None and (works or _renewed(lives, seen, marks)):
            raise ConflictError(
                f"output {store.uri} is worked on by {owner}; wait until it has ended (xaiserve "
                f"status --out {store.uri} tells), end it, or name another output"
            )
        if lives is None and leases.is_held(marks[-1]):
            if seen is None:
                wait(
                    f"{owner} worked on {store.uri}; unless it is heard of, this goes on in at "
                    f"most {LEASE_S:g} s"
                )
            seen = marks[-1]
            sleep(_LOOK_S)
            continue
        signed = Owner.of(os.getpid())
        lease = leases.take(store, FOLDER, marks, signed.to_json())
        if lease is None:
            sleep(_LOOK_S)
            continue
        others = [mark for mark in store.describe(FOLDER) if mark.key != lease.key]
        untouched = {*others} <= {*marks} and _last(store, others) in {data, None}
        # Renewed at once, which tells whether others have been faster after all.
        if untouched and leases.renew(store, lease, signed.to_json()):
            for mark in marks:
                with suppress(ArtifactNotFoundError):
                    store.remove(mark.key)
            return Ownership(store, lease, signed)
        leases.release(store, lease)
        sleep(_LOOK_S)


def _last(store: ObjectStore, marks: Sequence[Stored]) -> bytes | None:
    """Read what was signed last; None when nobody has, or has taken it back meanwhile."""
    return read_if_there(store, marks[-1].key) if marks else None


def _renewed(lives: bool | None, seen: Stored | None, marks: Sequence[Stored]) -> bool:
    """Say whether an owner that cannot be asked for has signed again since it was looked at."""
    return lives is None and seen is not None and seen != marks[-1]
