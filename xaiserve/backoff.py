"""How long to wait before asking a server again: longer each time, never in step with others."""

import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

RETRIED: Final = frozenset({429, 502, 503, 504})
"""Statuses of a server that is full, or away for now."""

FIRST_S: Final = 0.2
MOST_S: Final = 10.0


class Backoff:
    """The waits of one request: doubling, with full jitter, until its patience is spent.

    Parameters
    ----------
    patience_s
        How long it may take in all, from now; 0 allows no second attempt.
    clock, chance
        Seconds, and a number in [0, 1).
    """

    def __init__(
        self,
        patience_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._chance = chance
        self._end = clock() + patience_s
        self._bound_s = FIRST_S

    def wait_s(self, asked_s: float | None = None) -> float | None:
        """Say how long to wait for the next attempt; none when there is to be no other.

        Parameters
        ----------
        asked_s
            What the server asked for. It is waited at least; the jitter comes on top, so that those
            who were refused together do not come back together.
        """
        wait = self._chance() * self._bound_s + (asked_s or 0.0)
        self._bound_s = min(2 * self._bound_s, MOST_S)
        return wait if self._clock() + wait < self._end else None


def asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After``, seconds or a date; none where it is absent or neither."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return None
    if then.tzinfo is None:
        return None
    return max(0.0, (then - datetime.now(UTC)).total_seconds())
