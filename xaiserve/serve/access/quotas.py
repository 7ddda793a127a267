"""What one key may ask: so many requests a second, so many at a time."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from xaiserve.errors import KeyLimitError
from xaiserve.serve.access.keys import ApiKey

BUSY_RETRY_S: Final = 1.0
"""What a key with too many requests in flight is told to wait: nobody knows how long they take."""


class Bucket:
    """A token bucket: ``rate`` tokens a second, of which ``burst`` are kept; full at first."""

    def __init__(self, rate: float, burst: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = burst
        self._at = clock()

    def take(self) -> float:
        """Take a token; returns 0, or the seconds until there is one."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return (1 - self._tokens) / self._rate
        self._tokens -= 1
        return 0.0


class Quota:
    """What one key has left in this ingress replica; belongs to one event loop.

    Parameters
    ----------
    key
        Its limits.
    share
        How much of them this replica gives: replicas do not count together.
    """

    def __init__(
        self, key: ApiKey, *, share: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = key.name
        self._running = 0
        rate = key.requests_per_s
        burst = key.burst or (1 if rate is None else max(1, math.ceil(rate)))
        self._bucket = rate and Bucket(rate * share, max(1.0, burst * share), clock)
        self._concurrent = key.concurrent and max(1, int(key.concurrent * share))

    @contextmanager
    def one(self) -> Iterator[None]:
        """Count one request, until it is answered whole.

        Raises
        ------
        KeyLimitError
            It is one too many.
        """
        if self._concurrent and self._running >= self._concurrent:
            raise KeyLimitError(
                f"key {self._name!r} has {self._running} requests in flight, as many as it may",
                retry_after_s=BUSY_RETRY_S,
            )
        wait_s = self._bucket.take() if self._bucket else 0.0
        if wait_s:
            raise KeyLimitError(
                f"key {self._name!r} has asked as often as it may", retry_after_s=wait_s
            )
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
