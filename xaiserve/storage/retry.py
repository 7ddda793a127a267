"""A store that wraps a store and asks again."""

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from xaiserve.errors import ArtifactNotFoundError, ConflictError
from xaiserve.storage.objects import ObjectStore, Stored, TransientStoreError

T = TypeVar("T")


class Retrying:
    """Repeat what failed for a transient reason, waiting longer each time.

    Parameters
    ----------
    store
        The store that is asked; only its `TransientStoreError` is repeated.
    attempts
        How often in all, at least 1.
    first_wait_s, longest_wait_s
        The bound of the wait doubles from the one to the other; the wait itself is drawn evenly
        between 0 and its bound, so that many clients do not come back at once ("full jitter").
    sleep, draw
        For tests: waits seconds; gives a number in [0, 1).
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        attempts: int = 5,
        first_wait_s: float = 0.2,
        longest_wait_s: float = 5.0,
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] | None = None,
    ) -> None:
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, got {attempts}")
        self._store = store
        self._waits = [
            min(longest_wait_s, first_wait_s * 2.0**attempt) for attempt in range(attempts - 1)
        ]
        self._sleep = sleep
        # Waiting times decide no result, so they need no seed.
        self._draw = draw or random.SystemRandom().random

    @property
    def uri(self) -> str:
        return self._store.uri

    def read(self, key: str) -> bytes:
        return self._repeated(lambda _: self._store.read(key))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        return self._repeated(lambda _: self._store.read_range(key, start, length))

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        def write(again: bool) -> None:
            try:
                self._store.write(key, data, create_only=create_only)
            except ConflictError:
                # The earlier attempt may have landed although its answer was lost.
                if not (again and self._store.read(key) == data):
                    raise

        self._repeated(write)

    def remove(self, key: str) -> None:
        def remove(again: bool) -> None:
            try:
                self._store.remove(key)
            except ArtifactNotFoundError:
                if not again:  # else the earlier attempt removed it
                    raise

        self._repeated(remove)

    def list(self, prefix: str = "") -> Sequence[str]:
        return self._repeated(lambda _: self._store.list(prefix))

    def describe(self, prefix: str = "") -> Sequence[Stored]:
        return self._repeated(lambda _: self._store.describe(prefix))

    def size(self, key: str) -> int:
        return self._repeated(lambda _: self._store.size(key))

    def tidy(self, prefix: str) -> None:
        self._repeated(lambda _: self._store.tidy(prefix))

    def _repeated(self, ask: Callable[[bool], T]) -> T:
        """Ask until it works; ``ask`` is told whether it was asked before."""
        for attempt, wait in enumerate(self._waits):
            try:
                return ask(attempt > 0)
            except TransientStoreError:
                self._sleep(wait * self._draw())
        return ask(bool(self._waits))
