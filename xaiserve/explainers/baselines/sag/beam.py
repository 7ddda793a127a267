"""The beam search for roots: sets of patches that keep most of the target's score."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import torch

from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import EPSILON, Found, Goal, Progress, QueryPlan, ask
from xaiserve.perturb.query import Coarse, Scene
from xaiserve.types import Region

Patches = tuple[int, ...]
"""Places in the grid, row by row from 0, ascending."""

SHOWN: Final = 0.5
"""A pixel counts to a set of soft patches where the image's share is at least this."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Root:
    """A set of patches that keeps the asked share of the score, and no patch too many.

    Parameters
    ----------
    mask
        (h, w): where the image's share is at least one half; the rest fades into the fill.
    patches
        Places in the grid of patches, row by row.
    confidence
        The target's score for these patches alone, in a batch of one.
    margin
        How far the decision is from flipping; see `xaiserve.models.spec.Rule.margins`.
    keeps_label
        Whether the target is decided as well: the method asks for the score only.
    area_px, area_fraction
        Size of ``mask``.
    kind
        ``empty`` where the bare fill is enough, else ``root``.
    """

    mask: Region
    patches: Patches
    confidence: float
    margin: float
    keeps_label: bool
    area_px: int
    area_fraction: float
    kind: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What the model says about a set in a batch of one; see `Root`."""

    confidence: float
    margin: float
    keeps_label: bool


class Patchwork:
    """The scores of sets of patches over the fill; each is asked once, and once more alone.

    Parameters
    ----------
    cells
        Patches along each side.
    """

    def __init__(self, scene: Scene, case: Case, cells: int) -> None:
        self.cells = cells
        self.whole: Patches = tuple(range(cells**2))
        self._scene = scene
        self._goal = Goal(case.rule, case.target)
        self._scores: dict[Patches, float] = {}
        self._verified: dict[Patches, Verified] = {}

    def scores(self, sets: Sequence[Patches], bound: float) -> QueryPlan[list[float]]:
        """Score ``sets``; those near ``bound`` alone, so that company cannot move a decision."""
        new = [one for one in dict.fromkeys(sets) if one not in self._scores]
        if new:
            scores = yield from ask(self._query(new, alone=False))
            own = scores[:, self._goal.target].tolist()
            self._scores.update(zip(new, own, strict=True))
        near = [one for one in sets if abs(self._scores[one] - bound) < EPSILON]
        yield from self.verify(near)
        return [self._scores[one] for one in sets]

    def verify(self, sets: Sequence[Patches]) -> QueryPlan[list[Verified]]:
        """Score ``sets`` alone; these scores replace earlier ones."""
        new = [one for one in dict.fromkeys(sets) if one not in self._verified]
        if new:
            verdicts = self._goal.judge((yield from ask(self._query(new, alone=True))))
            margins = self._goal.rule.margins(verdicts.scores, self._goal.target)
            columns = (verdicts.confidence, margins, verdicts.passes)
            for one, *row in zip(new, *(column.tolist() for column in columns), strict=True):
                self._verified[one] = Verified(*row)
                self._scores[one] = self._verified[one].confidence
        return [self._verified[one] for one in sets]

    def root(self, patches: Patches) -> Root:
        """Describe a set that was verified."""
        verified = self._verified[patches]
        shares = torch.empty(1, *self._scene.image.shape[1:])
        self._query([patches], alone=True).weigh(shares)
        mask = shares[0] >= SHOWN
        area = int(mask.sum())
        return Root(
            mask=mask,
            patches=patches,
            confidence=verified.confidence,
            margin=verified.margin,
            keeps_label=verified.keeps_label,
            area_px=area,
            area_fraction=area / mask.numel(),
            kind="root" if patches else "empty",
        )

    def _query(self, sets: Sequence[Patches], *, alone: bool) -> Coarse:
        grids = torch.zeros(len(sets), self.cells**2)
        for grid, patches in zip(grids, sets, strict=True):
            grid[list(patches)] = 1
        return Coarse(self._scene, grids.view(-1, self.cells, self.cells), alone=alone)


def find_roots(
    patchwork: Patchwork,
    order: Sequence[int],
    *,
    floor: float,
    successors: int,
    width: int,
    most: int,
    roots: list[Root],
) -> QueryPlan[None]:
    """Search from the empty set, one patch more per level; add what is found to ``roots``.

    Parameters
    ----------
    order
        Patches, best first.
    floor
        A set whose score is above it becomes a root.
    successors
        Patches tried per state: the best that it has not got.
    width
        States kept per level, the most probable of those that are no roots.
    most
        The search ends once there are more roots than this.
    """
    beam: list[Patches] = [()]
    for level in range(len(order)):
        tried = list(dict.fromkeys(more for one in beam for more in grown(one, order, successors)))
        scores = yield from patchwork.scores(tried, floor)
        passing = [one for one, score in zip(tried, scores, strict=True) if score > floor]
        bare = yield from stripped(patchwork, passing, floor)
        known = {root.patches for root in roots}
        fresh = [one for one in bare if one not in known]
        yield from patchwork.verify(fresh)
        for root in sorted(map(patchwork.root, fresh), key=lambda r: (-r.confidence, r.patches)):
            roots.append(root)
            yield Found(root)
        yield Progress("beam", level + 1, len(order))
        if len(roots) > most:
            return
        beam = yield from best(patchwork, sorted({*tried} - {*passing}), width, floor)
        if not beam:
            return


def grown(one: Patches, order: Sequence[int], successors: int) -> list[Patches]:
    """Add to a state each of the best patches that it has not got."""
    unused = [patch for patch in order if patch not in one]
    return [tuple(sorted((*one, patch))) for patch in unused[:successors]]


def best(
    patchwork: Patchwork, states: Sequence[Patches], width: int, bound: float
) -> QueryPlan[list[Patches]]:
    """Keep the ``width`` most probable states, in ascending order; the first of equals."""
    if len(states) <= width:
        return list(states)
    scores = yield from patchwork.scores(states, bound)
    cut = sorted(scores, reverse=True)[width - 1]
    # Scores of a softmax move in proportion to themselves, and most are tiny in the first levels:
    # hence a share of the score that decides, where decisions elsewhere take a fixed margin.
    near = [
        one for one, score in zip(states, scores, strict=True) if abs(score - cut) <= EPSILON * cut
    ]
    if len(near) > 1:
        yield from patchwork.verify(near)
        scores = yield from patchwork.scores(states, bound)
    ranked = sorted(zip(scores, states, strict=True), key=lambda pair: (-pair[0], pair[1]))
    return sorted(one for _, one in ranked[:width])


@dataclass(slots=True)
class _Stripping:
    """One set on its way: passes over its patches until one takes nothing away."""

    patches: Patches
    left: Patches
    """Patches of this pass that have not been tried."""

    ahead: int = 1
    """How many are tried at once: doubled while none goes, so that what is asked in vain when one
    goes is at most what was asked before."""

    taken: bool = False

    def trials(self) -> list[Patches]:
        return [without(self.patches, patch) for patch in self.left[: self.ahead]]

    def advance(self, passes: Sequence[bool]) -> bool:
        """Take away the first patch that may go; false when a whole pass has taken none."""
        if any(passes):
            place = list(passes).index(True)
            self.patches = without(self.patches, self.left[place])
            self.left, self.ahead, self.taken = self.left[place + 1 :], 1, True
        else:
            self.left, self.ahead = self.left[len(passes) :], 2 * self.ahead
        if self.left or not self.taken:
            return bool(self.left)
        self.left, self.ahead, self.taken = self.patches, 1, False
        return True


def stripped(
    patchwork: Patchwork, sets: Iterable[Patches], floor: float
) -> QueryPlan[list[Patches]]:
    """Take patches away, in their order, while the score stays above ``floor``; drop duplicates.

    All sets advance together, and each asks for some patches ahead; the result is that of trying
    one patch after the other.
    """
    works = [_Stripping(one, one) for one in sets]
    live = works
    while live:
        trials = [work.trials() for work in live]
        asked = [one for mine in trials for one in mine]
        scores = dict(zip(asked, (yield from patchwork.scores(asked, floor)), strict=True))
        live = [
            work
            for work, mine in zip(live, trials, strict=True)
            if work.advance([scores[one] > floor for one in mine])
        ]
    return list(dict.fromkeys(work.patches for work in works))


def without(patches: Patches, patch: int) -> Patches:
    """Take one patch away."""
    return tuple(one for one in patches if one != patch)
