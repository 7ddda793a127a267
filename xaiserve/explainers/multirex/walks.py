"""How far along an order of pixels one must go: the search for the first size that passes.

Sizes are the multiples of a step, ``chunk`` pixels, up to the last pixel. Whether a size passes is
a *trial*'s to say; it need not be monotone.

=========== ======================================================== ===========================
walk        the size it returns                                      trials
=========== ======================================================== ===========================
``every``   the smallest that passes                                 up to it, and a quarter more
``bracket`` one that passes where the step before it does not: the   24 and a bracket's 12 for a
            boundary between the first of growing sizes to pass and  tenth of 224 x 224 pixels;
            the one before                                           at most about 60
=========== ======================================================== ===========================

For a monotone trial both are the same size. A trial that passes only between two of the growing
sizes, and not at the last, is missed by ``bracket``; that needs a confidence above the whole
image's (tau above 1).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch

from xaiserve.perturb.plan import QueryPlan

Walk = Literal["every", "bracket"]

NARROW: Final = 8
"""Fewest sizes tried in one round."""

WIDE: Final = 64
"""Most sizes tried in one round; ``every`` widens with the rows already spent, so that no more than
a quarter of a walk is wasted beyond its answer."""

GROWTH: Final = 1.3
"""From one growing size to the next."""

PROBES: Final = 4
"""Sizes tried at once inside a bracket, which shrinks it to a fifth: more would save rounds and
cost inputs (4 cost 2.5 per factor e, 7 cost 3.4, 1 costs 1.4)."""


@runtime_checkable
class Judged(Protocol):
    """What a trial says about the sizes it was given."""

    @property
    def passes(self) -> torch.Tensor:
        """(n,) bool: whether each passes."""
        ...


J = TypeVar("J", bound=Judged)

Trial = Callable[[Sequence[int], bool], QueryPlan[J]]
"""Tries sizes in pixels; the flag says whether each is scored in a batch of its own."""


@dataclass(frozen=True, slots=True)
class Steps:
    """Sizes ``chunk``, ``2 chunk``, ..., ``last``, in pixels, numbered from 1."""

    chunk: int
    last: int

    @property
    def count(self) -> int:
        return -(-self.last // self.chunk)

    def sizes(self, numbers: Sequence[int]) -> list[int]:
        return [min(number * self.chunk, self.last) for number in numbers]


@dataclass(frozen=True, slots=True, eq=False)
class Hit(Generic[J]):
    """A size that passes when scored alone.

    Parameters
    ----------
    first
        The size at which the walk first passed; smaller than ``size`` if that failed alone.
    judged, row
        What was said about ``size``, and in which row.
    """

    first: int
    size: int
    judged: J
    row: int


def first_passing(trial: Trial[J], steps: Steps, walk: Walk) -> QueryPlan[Hit[J] | None]:
    """Walk ``steps``, and try the size found again alone; none when no size tried passes."""
    search = every(trial, steps) if walk == "every" else bracket(trial, steps)
    number = yield from search
    return None if number is None else (yield from _confirmed(trial, steps, number))


def every(trial: Trial[J], steps: Steps) -> QueryPlan[int | None]:
    """Try all sizes in order, in rounds of growing width; return the first that passes."""
    for numbers in _widening(steps.count):
        hit = yield from _first(trial, steps, numbers)
        if hit is not None:
            return numbers[hit]
    return None


def bracket(trial: Trial[J], steps: Steps) -> QueryPlan[int | None]:
    """Try growing sizes until one passes, then what lies between it and the one before."""
    growing, low = list(_growing(steps.count)), 0
    for at in range(0, len(growing), NARROW):
        numbers = growing[at : at + NARROW]
        hit = yield from _first(trial, steps, numbers)
        if hit is not None:
            before = numbers[hit - 1] if hit else low
            return (yield from _boundary(trial, steps, before, numbers[hit]))
        low = numbers[-1]
    return None


def _boundary(trial: Trial[J], steps: Steps, low: int, high: int) -> QueryPlan[int]:
    """Find a step that passes after one that does not, given that ``low`` fails, ``high`` passes.

    Both stay true in every round whatever lies between, so the answer is minimal to a step.
    """
    while high - low > 1:
        count = min(PROBES, high - low - 1)
        between = [low + (high - low) * i // (count + 1) for i in range(1, count + 1)]
        hit = yield from _first(trial, steps, between)
        ends = [low, *between, high]
        at = count if hit is None else hit
        low, high = ends[at], ends[at + 1]
    return high


def _first(trial: Trial[J], steps: Steps, numbers: Sequence[int]) -> QueryPlan[int | None]:
    """Try some steps together; return the index of the first that passes."""
    judged = yield from trial(steps.sizes(numbers), False)
    return _first_true(judged.passes)


def _confirmed(trial: Trial[J], steps: Steps, number: int) -> QueryPlan[Hit[J] | None]:
    """Try step ``number`` alone and, should it fail there, the following ones.

    A classifier's scores move with the company a row has; ever wider rounds, for one that moves
    far.
    """
    (first,) = steps.sizes([number])
    width = 1
    while number <= steps.count:
        sizes = steps.sizes(range(number, min(number + width, steps.count + 1)))
        judged = yield from trial(sizes, True)
        row = _first_true(judged.passes)
        if row is not None:
            return Hit(first, sizes[row], judged, row)
        number, width = number + width, min(2 * width, WIDE)
    return None


def _first_true(passes: torch.Tensor) -> int | None:
    return int(passes.int().argmax()) if bool(passes.any()) else None


def _widening(count: int) -> Iterator[range]:
    at = 1
    while at <= count:
        width = min(max(NARROW, at // 4), WIDE)
        yield range(at, min(at + width, count + 1))
        at += width


def _growing(count: int) -> Iterator[int]:
    number = 1
    while number < count:
        yield number
        number = max(number + 1, int(number * GROWTH))
    yield count
