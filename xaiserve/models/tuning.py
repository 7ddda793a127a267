"""The batch size, by a short measurement."""

import itertools
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final

import torch

CPU_SIZES: Final = (1, 2, 4, 8, 16, 32)
GPU_SIZES: Final = (1, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Few sizes, so that the budget pays for several passes. One row comes first: it warms up, and says
what a larger batch of a slow model would cost."""

BUDGET_S: Final = 2.0

BATCH_COST_S: Final = 1.2e-3
"""What the engine does for a batch of any size, which the measurement does not see: taking,
composing and bringing back, measured beside MobileNetV2 on a core whose caches the model fills."""

NEAR_TIE: Final = 0.95
"""A smaller batch wins when it reaches this share of the best rate: it costs less latency and
memory, and a shared machine measures no better than this. One row alone wins only when nothing
larger comes near."""

_memo: dict[Hashable, int] = {}
_lock = threading.Lock()


def tuned_rows(
    key: Hashable,
    score: Callable[[int], object],
    *,
    sizes: Sequence[int] = CPU_SIZES,
    budget_s: float = BUDGET_S,
    prepare: bool = False,
) -> int:
    """Measure once per process and ``key``, and remember.

    Parameters
    ----------
    key
        What the speed depends on: model, device, threads.
    score
        Scores that many pictures and waits for the result.
    sizes
        Batch sizes to measure, ascending, the first being 1.
    budget_s
        What the measurement may take; the smallest batch is measured in any case.
    prepare
        Score each size once before the clock starts: where the first time takes a recording, or
        may be too large for the device's memory.
    """
    # Held while measuring: two measurements at once would measure each other.
    with _lock:
        if key not in _memo:
            fit = prepared(score, sizes) if prepare else sizes
            _memo[key] = best_rows(measure(score, sizes=fit, budget_s=budget_s))
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
    sizes: Sequence[int] = CPU_SIZES,
    budget_s: float = BUDGET_S,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[int, float]:
    """Measure rows per second at each batch size, best of as many passes as the budget allows.

    Passes go through all sizes, so that a disturbance does not hit one size alone; the first pass
    warms up. It ends before the first run that is expected to exceed the budget, so that a slow
    model is measured at small sizes only, at least at the smallest.
    """
    start = clock()
    rates: dict[int, float] = {}
    for size in itertools.cycle(sizes):
        guess = rates.get(size) or max(rates.values(), default=0.0)
        if rates and clock() - start + size / guess > budget_s:
            return rates
        begun = clock()
        score(size)
        seconds = max(clock() - begun, 1e-9)
        rates[size] = max(rates.get(size, 0.0), size / seconds)
    raise ValueError("sizes must name at least one batch size, got none")


def best_rows(rates: dict[int, float]) -> int:
    """Choose the smallest batch size above 1 within `NEAR_TIE` of the best rate, else 1.

    Rates, of the model alone, are taken down by `BATCH_COST_S`.
    """
    whole = {size: size / (size / rate + BATCH_COST_S) for size, rate in rates.items()}
    enough = NEAR_TIE * max(whole.values())
    return min((size for size, rate in whole.items() if size > 1 and rate >= enough), default=1)
