"""Ask a running job to end: a mark beside its rows, which its driver looks for."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from xaiserve.errors import ArtifactNotFoundError, JobStoppedError
from xaiserve.storage.objects import ObjectStore, exists

MARK: Final = "_CANCEL"
LOOK_S: Final = 3.0


def ask_to_end(store: ObjectStore) -> None:
    """Ask the job whose rows are in ``store`` to end."""
    store.write(MARK, b"")


def forget(store: ObjectStore, before: float) -> None:
    """Take back a wish older than ``before``, in seconds since 1970, so that the job can go on."""
    for mark in store.describe(MARK):
        if mark.modified < before:
            with suppress(ArtifactNotFoundError):
                store.remove(mark.key)


class Lookout:
    """Looks now and then whether a job has been asked to end."""

    def __init__(self, store: ObjectStore, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._looked = clock()

    def check(self) -> None:
        """End the job if that is wished.

        Raises
        ------
        JobStoppedError
            It is.
        """
        if self._clock() - self._looked < LOOK_S:
            return
        self._looked = self._clock()
        if exists(self._store, MARK):
            raise JobStoppedError(
                "the job was cancelled; run the same command again to go on", cancelled=True
            )
