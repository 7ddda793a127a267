"""A bounded number at work and a bounded number waiting: what is beyond is refused at once."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from xaiserve.errors import CapacityError


class Places:
    """Places of one replica for one kind of work; belongs to one event loop.

    Parameters
    ----------
    noun
        What takes a place, for the message.
    running, waiting
        How many may be at work, at least 1, and wait for that, at least 0.
    retry_after_s
        What a refused client is told to wait.
    """

    def __init__(self, noun: str, *, running: int, waiting: int, retry_after_s: float) -> None:
        self._noun = noun
        self._running = running
        self._waiting = waiting
        self._retry_after_s = retry_after_s
        self._free = asyncio.Semaphore(running)
        self._inside = 0

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return max(0, self._inside - self._running)

    @asynccontextmanager
    async def place(self, *, patience_s: float | None = None) -> AsyncIterator[float]:
        """Hold a place; yields the seconds that were spent waiting for it.

        Raises
        ------
        CapacityError
            All places and all waiting places are taken, or none came free in ``patience_s``.
        """
        if self._inside >= self._running + self._waiting:
            raise self._full(f"{self._running} are at work and {self._waiting} wait")
        self._inside += 1
        try:
            waited = await self._take(patience_s)
            try:
                yield waited
            finally:
                self._free.release()
        finally:
            self._inside -= 1

    async def _take(self, patience_s: float | None) -> float:
        started = time.monotonic()
        try:
            async with asyncio.timeout(patience_s):
                await self._free.acquire()
        except TimeoutError:
            raise self._full(f"none came free within {patience_s:g} s") from None
        return time.monotonic() - started

    def _full(self, why: str) -> CapacityError:
        return CapacityError(
            f"no place for more {self._noun}: {why}", retry_after_s=self._retry_after_s
        )
