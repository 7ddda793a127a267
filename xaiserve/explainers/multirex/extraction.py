"""Reading sufficient sets off a map: ranked prefixes, discs, and their verification.

Section 4 of the method: *global* walks the ranking of the whole map, a *spotlight* looks for a
sufficient disc at a random place and walks the ranking inside it.
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from xaiserve.explainers.multirex.results import SufficientSet, sufficient_set
from xaiserve.perturb.plan import Event, Found, Goal, Verdicts, decide
from xaiserve.perturb.query import Query, Ranked, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Rank, Region, Saliency, Scores

NARROW, WIDE = 8, 64
"""Fewest and most prefixes asked in one round; the round widens with the rows already spent, so
that no more than a quarter of a walk is wasted beyond its answer."""


@dataclass(frozen=True, slots=True, eq=False)
class Disc:
    """The pixels at most ``radius`` from (``row``, ``column``)."""

    row: int
    column: int
    radius: int


Asking = Generator[Query | Event, Scores | None, SufficientSet | None]


@dataclass(frozen=True, slots=True, eq=False)
class Extraction:
    """What both kinds of walk need.

    Parameters
    ----------
    saliency
        The map; larger is earlier in the ranking, ties by larger linear index first.
    chunk
        Ranking step in pixels.
    """

    scene: Scene
    goal: Goal
    saliency: Saliency
    chunk: int

    def whole(self) -> Asking:
        """Return the smallest sufficient prefix of the map's ranking, in steps of ``chunk``."""
        return (yield from self._walk(ranking(self.saliency), self.saliency.numel(), disc=None))

    def spotlight(self, keys: Keys, radii: tuple[int, ...], budget: int) -> Asking:
        """Search discs at random places and minimise the first that is sufficient.

        At most ``budget`` + 1 places, ``radii`` probed at each in one round; the smallest
        sufficient radius wins. None when no place had one.
        """
        height, width = self.saliency.shape
        for row, column in _places(keys, height, width, budget + 1):
            distance = squared_distance(height, width, row, column)
            probes = Ranked.prefixes(self.scene, distance, [radius**2 + 1 for radius in radii])
            verdicts = yield from decide(probes, self.goal)
            if bool(verdicts.passes.any()):
                disc = Disc(row, column, radii[int(verdicts.passes.nonzero()[0])])
                inside = distance <= disc.radius**2
                rank = ranking(self.saliency, inside)
                return (yield from self._walk(rank, int(inside.sum()), disc))
        return None

    def _walk(self, rank: Rank, last: int, disc: Disc | None) -> Asking:
        """Find the first sufficient prefix of ``rank`` that also is when scored alone."""
        first = 0
        for sizes in _rounds(self.chunk, last):
            verdicts = yield from decide(Ranked.prefixes(self.scene, rank, sizes), self.goal)
            for index in verdicts.passes.nonzero().flatten().tolist():
                first = first or sizes[index]
                prefix = Ranked.prefixes(self.scene, rank, [sizes[index]], alone=True)
                alone = yield from decide(prefix, self.goal)
                if bool(alone.passes[0]):
                    found = self._release(rank < sizes[index], alone, first, disc)
                    yield Found(found)
                    return found
        return None

    def _release(
        self, mask: Region, alone: Verdicts, first: int, disc: Disc | None
    ) -> SufficientSet:
        place = (
            {"centre_row": disc.row, "centre_column": disc.column, "radius_px": disc.radius}
            if disc
            else {}
        )
        extended = int(mask.sum()) - first
        return sufficient_set(
            mask,
            alone,
            self.goal,
            "spotlight" if disc else "global",
            ranked_px=first,
            extended_by=extended,
            **place,
        )


def ranking(saliency: Saliency, inside: Region | None = None) -> Rank:
    """Give each pixel its place (0 first) by descending (inside, saliency, linear index)."""
    values = saliency.flatten().numpy()
    index = np.arange(len(values))
    outside = np.zeros_like(index) if inside is None else ~inside.flatten().numpy()
    order = np.lexsort((-index, -values, outside))
    rank = np.empty_like(index)
    rank[order] = index
    return torch.from_numpy(rank).view(saliency.shape)


def squared_distance(height: int, width: int, row: int, column: int) -> Rank:
    """Squared distance of each pixel to (row, column), (h, w)."""
    rows, columns = torch.arange(height) - row, torch.arange(width) - column
    return rows[:, None] ** 2 + columns**2


def probe_radii(radius: float, eta: float, probes: int) -> tuple[int, ...]:
    """List the radii of one place's probes: each the last one times 1 + eta, rounded down.

    At least one pixel longer than the last, so that small pictures make progress.
    """
    radii = [max(1, round(radius))]
    while len(radii) < probes:
        radii.append(max(math.floor(radii[-1] * (1 + eta)), radii[-1] + 1))
    return tuple(radii)


def _rounds(chunk: int, last: int) -> Iterator[list[int]]:
    """Cut the prefix sizes chunk, 2 chunk, ..., last into rounds of growing width."""
    sizes = [*range(chunk, last, chunk), last]
    at = 0
    while at < len(sizes):
        width = min(max(NARROW, at // 4), WIDE)
        yield sizes[at : at + width]
        at += width


def _places(keys: Keys, height: int, width: int, count: int) -> Iterator[tuple[int, int]]:
    """Draw up to ``count`` different pixels, uniformly."""
    seen: set[tuple[int, int]] = set()
    for draw in range(min(count, height * width)):
        attempt = 0
        place = keys.child(draw, attempt).below(height, width)
        while place in seen:
            attempt += 1
            place = keys.child(draw, attempt).below(height, width)
        seen.add((place[0], place[1]))
        yield place[0], place[1]
