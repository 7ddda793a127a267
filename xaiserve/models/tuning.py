"""How many rows a call of a model and a batch should have, by a short measurement."""

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

import torch

CPU_SIZES: Final = (1, 2, 4, 8, 16, 32)
GPU_SIZES: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Few sizes, so that the budget pays for several passes. One row comes first: it warms up, and says
what a larger call of a slow model would cost."""

BUDGET_S: Final = 2.0
PASSES: Final = 8
"""Enough of them, where the budget would pay for more."""

HOPELESS: Final = 0.75
"""A size that reaches less than this share of the best rate is not tried again. After two of them
no larger one is: once caches overflow, they do so more and more."""

GPU_BATCH_COST_S: Final = 1.2e-3
"""What the engine does for a batch of any size, which the measurement does not see: taking,
composing and bringing back."""

NEAR_TIE: Final = 0.95
"""On a GPU a smaller size wins when it reaches this share of the best rate: it costs less latency
and memory."""

CPU_NEAR_TIE: Final = 0.98
"""On a CPU, where a batch is several calls, it costs neither."""

CPU_BATCH_S: Final = 0.1
"""What a batch of several calls aims at: what the engine does for it is then 1 % of it, and whoever
comes meanwhile hardly waits."""

CPU_BATCH_ROWS: Final = 32
"""Its most rows, unless one call has more."""


class Calls(NamedTuple):
    """Rows of a call, and rows per second of all callers together at that size."""

    rows: int
    rate: float


_memo: dict[Hashable, Calls] = {}
_lock = threading.Lock()


def tuned(
    key: Hashable,
    score: Callable[[int], object],
    *,
    callers: int = 1,
    sizes: Sequence[int] = CPU_SIZES,
    budget_s: float = BUDGET_S,
    cost_s: float = 0.0,
    near_tie: float = CPU_NEAR_TIE,
    prepare: bool = False,
) -> Calls:
    """Measure once per process and ``key``, and remember.

    Parameters
    ----------
    key
        What the speed depends on: model, device, threads.
    score
        Scores that many pictures and waits for the result.
    callers
        Threads that call it at once when it matters, and so here: what cores share, as their
        caches, decides.
    sizes
        Rows of a call to measure, ascending, the first being 1.
    budget_s
        What the measurement may take; the smallest size is measured in any case.
    cost_s, near_tie
        See `best`.
    prepare
        Score each size once before the clock starts: where the first time takes a recording, or
        may be too large for the device's memory.
    """
    # Held while measuring: two measurements at once would measure each other.
    with _lock:
        if key not in _memo:
            fit = prepared(score, sizes) if prepare else sizes
            with ThreadPoolExecutor(callers) as pool:
                rates = measure(
                    lambda rows: list(pool.map(score, [rows] * callers)),
                    callers=callers,
                    sizes=fit,
                    budget_s=budget_s,
                )
            _memo[key] = best(rates, cost_s, near_tie)
        return _memo[key]


def prepared(score: Callable[[int], object], sizes: Sequence[int]) -> Sequence[int]:
    """Score each size once, ascending, and return those for which the device has the memory.

    Raises
    ------
    OutOfMemoryError
        Of torch: it has none even for the smallest.
    """
    for place, size in enumerate(sizes):
        try:
            score(size)
        except torch.OutOfMemoryError:
            if place == 0:
                raise
            return sizes[:place]
    return sizes


def measure(
    score: Callable[[int], object],
    *,
    callers: int = 1,
    sizes: Sequence[int] = CPU_SIZES,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Measure rows per second at each size, best of as many passes as the budget allows.

    Passes go through all sizes, so that a disturbance does not hit one size alone; after the first,
    only through those that are not hopeless. It ends before the first run that is expected to
    exceed the budget, so that a slow model is measured at small sizes only, at least at the
    smallest.
    """
    start = clock()
    rates: dict[int, float] = {}
    left, hopeless = list(sizes), list[int]()
    for number in range(PASSES):
        for size in left:
            guess = rates.get(size) or max(rates.values(), default=0.0)
            if rates and clock() - start + callers * size / guess > budget_s:
                return rates
            begun = clock()
            score(size)
            seconds = max(clock() - begun, 1e-9)
            rates[size] = max(rates.get(size, 0.0), callers * size / seconds)
            hopeless = [size for size in rates if rates[size] < HOPELESS * max(rates.values())]
            if number == 0 and len(hopeless) > 1 and hopeless[-2:] == list(rates)[-2:]:
                break
        # The first of all has paid for whatever a first call costs: it gets another try.
        tried = sizes[:1] if number == 0 else ()
        left = [size for size in rates if size not in hopeless or size in tried]
    return rates


def best(rates: dict[int, float], cost_s: float, near_tie: float) -> Calls:
    """Choose the smallest size that reaches the share ``near_tie`` of the best rate.

    Rates are taken down by ``cost_s``, what else is to be done for a call of any size.
    """
    whole = {size: size / (size / rate + cost_s) for size, rate in rates.items()}
    enough = near_tie * max(whole.values())
    rows = min(size for size, rate in whole.items() if rate >= enough)
    return Calls(rows, rates[rows])


def rows_per_batch(calls: Calls, callers: int) -> int:
    """Say how many rows a CPU should be handed at once: whole calls, for `CPU_BATCH_S`."""
    fit = min(CPU_BATCH_ROWS, int(CPU_BATCH_S * calls.rate / callers))
    return max(1, fit // calls.rows) * calls.rows
