"""Sets that share no pixel: find large ones that pass, make each small, look at what is left.

Where a large set comes from, cheapest first: the mutants that the map has seen to pass (`pool`,
no input), two complementary sets climbed together (`pairs`), all pixels that the sets so far leave
(``exclude``, one input). Two sets that are there together are made small together, which takes half
the rounds; each further one is chosen when those before it are small and leave it more room.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

import torch

from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.pairs import PairSearch, root_partitions
from xaiserve.explainers.multirex.pool import Pool
from xaiserve.explainers.multirex.pruning import Pruning
from xaiserve.explainers.multirex.responsibility import ResponsibilitySearch
from xaiserve.explainers.multirex.results import Origin, SufficientSet, sufficient_set
from xaiserve.explainers.multirex.seen import SeenSets
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import Found, Goal, QueryPlan, Verdicts, decide, gather
from xaiserve.perturb.query import Mix, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Region, Saliency

TRIED: Final = 8
"""Sets of the pool that are asked at once where their confidence matters and is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A set that passes, where it comes from, and the map by which it is made small."""

    region: Region
    origin: Origin
    saliency: Saliency

    @property
    def area(self) -> int:
        return int(self.region.sum())


@dataclass(frozen=True, slots=True, eq=False)
class Disjoint:
    """The search for a family on one picture.

    Parameters
    ----------
    goal
        What keeps the label.
    confidence
        The target's score for the whole image.
    saliency
        The map.
    seen
        The sets that the map's search has asked.
    certain
        Whether those of ``seen`` that passed are sufficient; if not they are asked again: they were
        seen over another fill, or without the confidence that is wanted.
    whole
        Waits for the global set, from which pruning starts where no two disjoint sets are found.
    found
        Where members are noted as soon as they are verified, so that an early stop keeps them.
    """

    case: Case
    scene: Scene
    goal: Goal
    confidence: float
    saliency: Saliency
    seen: SeenSets
    certain: bool
    whole: Callable[[], QueryPlan[SufficientSet | None]]
    options: MultiRexOptions
    keys: Keys
    found: list[SufficientSet]

    def run(self) -> QueryPlan[None]:
        """Find members until nothing is left, or as many as the options ask for."""
        pool = Pool(self.seen, *self.saliency.shape)
        starts = (yield from self._pair(pool)) or (yield from self._global())
        most = self._most()
        yield from gather([self._minimise(start) for start in starts[:most]])
        if not self.found:
            return
        for left in range(most - len(self.found), 0, -1):
            start = yield from self._next(pool, self.keys.child("exclude", left))
            if not (start and (yield from self._minimise(start))):
                return

    def _most(self) -> int:
        most = 2 + self.options.exclude_rounds
        return min(most, self.options.max_explanations or most)

    def _pair(self, pool: Pool) -> QueryPlan[list[Start]]:
        """Find two disjoint sets that pass, the smaller first; nothing when there is none."""
        options = self.options
        if options.max_explanations == 1:
            return []
        pair = (yield from self._pooled(pool)) if options.pool else None
        if pair:
            return [Start(side, "pool", self.saliency) for side in pair]
        if options.pairs:
            height, width = self.saliency.shape
            starts = root_partitions(self.seen, height, width, options.restarts)
            search = PairSearch(self.scene, self.goal, options.climb_rounds)
            pair = yield from search.run(starts, self.keys)
        sides = [Start(side, "pair", self.saliency) for side in pair or ()]
        return sorted(sides, key=lambda side: side.area)

    def _pooled(self, pool: Pool) -> QueryPlan[tuple[Region, Region] | None]:
        pairs = list(islice(pool.pairs(), self._tried))
        passes = yield from self._pass([side for pair in pairs for side in pair])
        both = zip(pairs, passes[::2], passes[1::2], strict=True)
        return next((pair for pair, left, right in both if left and right), None)

    def _global(self) -> QueryPlan[list[Start]]:
        whole = yield from self.whole()
        return [Start(whole.mask, whole.kind, self.saliency)] if whole else []

    def _next(self, pool: Pool, keys: Keys) -> QueryPlan[Start | None]:
        """Choose a set that passes and shares nothing with those that were found.

        The smallest of the pool; without one, what a search of the pixels that are left has found.
        """
        used = torch.zeros_like(self.saliency, dtype=torch.bool)
        for member in self.found:
            used |= member.mask
        known = []
        if self.options.pool:
            beside = list(islice(pool.beside(used), self._tried))
            passes = yield from self._pass(beside)
            good = (one for one, passing in zip(beside, passes, strict=True) if passing)
            known = [Start(one, "pool", self.saliency) for one in good]
        if self.options.exclude and not known:
            known = yield from self._left(used, keys)
        return min(known, key=lambda one: one.area, default=None)

    def _left(self, used: Region, keys: Keys) -> QueryPlan[list[Start]]:
        """Search what ``used`` leaves, if that passes: its own map, and the smallest set it saw."""
        rest = ~used
        if not all((yield from self._ask([rest]))):
            return []
        if not self.options.exclude_iterations:
            return [Start(rest, "exclude", self.saliency)]
        scene = Scene(torch.where(used, self.scene.fill, self.scene.image), self.scene.fill)
        search = ResponsibilitySearch(
            self.options,
            self.case,
            [scene],
            keys,
            confidence=self.confidence,
            iterations=self.options.exclude_iterations,
        )
        yield from search.run()
        saliency = search.saliency()
        seen = Pool(search.seen, *saliency.shape).beside(torch.zeros_like(used))
        smallest = list(islice(seen, self._tried))
        passes = yield from self._pass([one & rest for one in smallest])
        good = [one & rest for one, passing in zip(smallest, passes, strict=True) if passing]
        return [Start(one, "exclude", saliency) for one in [*good, rest][:1]]

    def _minimise(self, start: Start) -> QueryPlan[SufficientSet | None]:
        """Note a set, then make it small and note that instead; none when it fails alone."""
        alone = yield from _alone(self.scene, self.goal, start.region)
        if not bool(alone.passes[0]):
            return None
        whole = sufficient_set(start.region, alone, self.goal, start.origin)
        place = len(self.found)
        self.found.append(whole)
        if self.options.prune:
            self.found[place] = yield from self._pruned(whole, start.saliency)
        yield Found(self.found[place])
        return self.found[place]

    def _pruned(self, whole: SufficientSet, saliency: Saliency) -> QueryPlan[SufficientSet]:
        options = self.options
        goal = self.goal
        floor = options.prune_tau * self.confidence
        if goal.floor < floor <= whole.confidence:
            goal = replace(goal, floor=floor)
        pruning = Pruning(self.scene, goal, saliency, options.chunk, options.prune_block_px)
        ranked = yield from pruning.ranked(whole.mask)
        spared = yield from pruning.spared(ranked)
        for mask in (spared, ranked):
            alone = yield from _alone(self.scene, goal, mask)
            if bool(alone.passes[0]):
                pruned = whole.area_px - int(mask.sum())
                return sufficient_set(mask, alone, self.goal, whole.kind, pruned_px=pruned)
        return whole

    @property
    def _tried(self) -> int:
        """How many sets of a pool are looked at."""
        return 1 if self.certain else TRIED

    def _pass(self, regions: Sequence[Region]) -> QueryPlan[list[bool]]:
        """Say which of the sets of a pool pass; asked only where that is not certain."""
        if self.certain or not regions:
            return [True] * len(regions)
        return (yield from self._ask(regions))

    def _ask(self, regions: Sequence[Region]) -> QueryPlan[list[bool]]:
        labels, keep = _apart(regions)
        verdicts = yield from decide(Mix(self.scene, labels, keep), self.goal)
        passes: list[bool] = verdicts.passes.tolist()
        return passes


def _apart(regions: Sequence[Region]) -> tuple[torch.Tensor, torch.Tensor]:
    """Label pixels by which of ``regions`` they belong to; return that, and what each shows."""
    bits = sum(region.long() << place for place, region in enumerate(regions))
    codes, labels = torch.unique(torch.as_tensor(bits), return_inverse=True)
    members = torch.stack([codes >> place & 1 for place in range(len(regions))]).bool()
    return labels, members


def _alone(scene: Scene, goal: Goal, region: Region) -> QueryPlan[Verdicts]:
    keep = torch.tensor([[False, True]])
    return (yield from decide(Mix(scene, region.long(), keep, alone=True), goal))
