"""Which segments alone bring the probability to ``tau``: by the equation, and by asking."""

import itertools
import math

from xaiserve.explainers.clear_image.masks import foreground_sets, only
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.parts import SegmentSet, SufficientCause
from xaiserve.explainers.clear_image.table import Asks, Table


def sufficient_by_regression(
    intercept: float, weights: dict[SegmentSet, float], options: ClearOptions
) -> tuple[SufficientCause, ...]:
    """List the segments, else pairs, that reach ``tau`` with all others at their worst.

    With ``z_min`` the intercept and all negative weights, a segment is sufficient iff its weight
    plus ``z_min`` exceeds ``ln(tau / (1 - tau))``; a linear equation has to exceed ``tau`` itself.
    The background can appear. Of products, those inside the set count.
    """
    worst = intercept + sum(weight for weight in weights.values() if weight < 0)
    linear = options.regression == "multiple"
    bar = options.tau if linear else math.log(options.tau / (1 - options.tau))
    members = sorted({segment for term in weights for segment in term})
    for size in range(1, options.max_sufficient_causes + 1):
        sets: list[SegmentSet] = list(itertools.combinations(members, size))
        reached = [(each, worst + _inside(weights, each)) for each in sets]
        found = [(each, z) for each, z in reached if z > bar]
        if found:
            return tuple(
                SufficientCause(segments=each, p=z if linear else 1 / (1 + math.exp(-z)))
                for each, z in found
            )
    return ()


def _inside(weights: dict[SegmentSet, float], segments: SegmentSet) -> float:
    """Add up the terms that show when ``segments`` do.

    A negative term of theirs counts again although `worst` has it, as published.
    """
    shown = set(segments)
    return sum(weight for term, weight in weights.items() if shown.issuperset(term))


class Sufficiency:
    """Asks what segments do alone.

    Attributes
    ----------
    found
        Single foreground segments, else pairs, that reach ``tau``, scored alone; none where the
        contrast picture reaches it without any.
    """

    def __init__(self, table: Table, options: ClearOptions) -> None:
        self._table = table
        self._options = options
        self.found: tuple[SufficientCause, ...] = ()

    def run(self) -> Asks:
        for size in range(1, self._options.max_sufficient_causes + 1):
            sets = foreground_sets(self._table.segments, size)
            yield from self._table.ask(only(sets, self._table.segments))
            if self._trivial:
                return
            yield from self._confirm(sets)
            if self.found:
                return

    @property
    def _trivial(self) -> bool:
        return bool(self._reaching([()]))

    def _confirm(self, sets: list[SegmentSet]) -> Asks:
        table = self._table
        claimed = self._reaching(sets)
        yield from table.confirm(only(claimed, table.segments))
        self.found = tuple(
            SufficientCause(segments=each, p=float(table.p(only([each], table.segments))[0]))
            for each in self._reaching(claimed)
        )

    def _reaching(self, sets: list[SegmentSet]) -> list[SegmentSet]:
        p = self._table.p(only(sets, self._table.segments))
        return [each for each, reached in zip(sets, p >= self._options.tau, strict=True) if reached]
