"""Sets that are needed as well as enough, and sets that match the whole image's confidence.

Section 6 of the method. H. Chockler, D. A. Kelly, *Sufficient, contrastive and complete feature
sets in image classification*, arXiv 2507.23497.

========================== ============================================= =======================
set                        looked for                                    model inputs
========================== ============================================= =======================
contrastive                along the ranking, in steps of ``chunk``, as  twice the walk's rows;
                           ``walk`` says: a prefix that keeps the label  and 2
                           and whose removal loses it
contrastive, as a union    among the unions of 1, 2, ... explanations,   twice the unions tried,
                           in that order, 512 at most                    1024 at most; and 2
complete                   a contrastive prefix and steps from the       the walk's rows; and 2
                           ranking's end, as ``walk`` says
========================== ============================================= =======================

Neither property is monotone along a ranking. Walk ``every`` returns the first step that has it;
``bracket`` one that has it where the step before has not, from growing sizes, and may miss a
property that none of those has. Each set is scored alone before it is released.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice
from typing import Final

import numpy as np
import torch

from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.patterns import patterns
from xaiserve.explainers.multirex.results import CompleteSet, ContrastiveSet, Extras
from xaiserve.explainers.multirex.walks import Hit, Steps, first_passing
from xaiserve.perturb.plan import EPSILON, Goal, QueryPlan, Verdicts, ask, decide
from xaiserve.perturb.query import Mix, Ranked, Scene, join, select
from xaiserve.types import Rank, Region

UNIONS: Final = 512
"""Most unions tried: all of 9 explanations, or all pairs of 31."""


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """What was decided about sets (n rows) and about the rest without each (n rows)."""

    passes: torch.Tensor
    """(n,) bool: the set keeps the label, the rest does not have it."""

    kept: Verdicts
    rest: Verdicts


@dataclass(frozen=True, slots=True, eq=False)
class Contrast:
    """What all searches of this kind need.

    Parameters
    ----------
    goal
        What keeps the label; its floor is replaced by ``contrastive_tau`` where that is given.
    confidence
        The target's score for the whole image.
    rank
        The map's ranking, (h, w).
    """

    scene: Scene
    goal: Goal
    confidence: float
    rank: Rank
    options: MultiRexOptions

    def run(self, masks: Sequence[Region], extras: Extras) -> QueryPlan[None]:
        """Look for what the options ask for, ``masks`` being the explanations; note it."""
        options = self.options
        if options.contrastive or options.complete:
            extras.contrastive = yield from self.contrastive()
        if options.complete and extras.contrastive is not None:
            extras.complete = yield from self.complete(extras.contrastive)
        if options.contrastive:
            extras.contrastive_union = yield from self.union(masks)

    def contrastive(self) -> QueryPlan[ContrastiveSet]:
        """Find a contrastive prefix of the ranking."""

        def trial(sizes: Sequence[int], alone: bool) -> QueryPlan[Sides]:
            inner = torch.tensor(sizes)
            ends = torch.full_like(inner, self.rank.numel())
            kept = Ranked.prefixes(self.scene, self.rank, sizes, alone=alone)
            return self._sides(kept, Ranked(self.scene, self.rank, inner, ends, alone))

        steps = Steps(self.options.chunk, self.rank.numel())
        hit = yield from first_passing(trial, steps, self.options.walk)
        if hit is None:
            return _no_contrast(self.rank)
        return _contrast(self.rank < hit.size, hit, ranked_px=hit.first)

    def union(self, masks: Sequence[Region]) -> QueryPlan[ContrastiveSet]:
        """Find the first union of explanations that is contrastive, small unions first.

        Unions of one size come in lexicographic order; sizes count explanations, not pixels.
        """
        subsets = list(islice(_subsets(len(masks)), UNIONS))
        if not subsets:
            return _no_contrast(self.rank)
        used = sorted({member for subset in subsets for member in subset})
        labels, inside = patterns([masks[member] for member in used])
        shown = np.stack([inside[[used.index(i) for i in one]].any(axis=0) for one in subsets])

        def trial(numbers: Sequence[int], alone: bool) -> QueryPlan[Sides]:
            keep = torch.from_numpy(shown[[number - 1 for number in numbers]])
            kept = Mix(self.scene, labels, keep, alone)
            return self._sides(kept, replace(kept, keep=~keep))

        hit = yield from first_passing(trial, Steps(1, len(subsets)), "every")
        if hit is None:
            return _no_contrast(self.rank)
        mask = torch.from_numpy(shown[hit.size - 1])[labels]
        return _contrast(mask, hit, members=subsets[hit.size - 1])

    def complete(self, core: ContrastiveSet) -> QueryPlan[CompleteSet]:
        """Add to a contrastive prefix from the ranking's end until the confidence is met."""
        nothing = torch.zeros_like(core.mask)
        if not core.found or core.confidence is None:
            return _complete(nothing, nothing, found=False)
        if abs(core.confidence - self.confidence) <= self.options.complete_tol:
            return _complete(core.mask, nothing, confidence=core.confidence)
        # The prefix first and then the ranking backwards, so that every row is an interval.
        size, pixels = core.area_px, self.rank.numel()
        order = torch.where(core.mask, self.rank, size + pixels - 1 - self.rank)

        def trial(sizes: Sequence[int], alone: bool) -> QueryPlan[Verdicts]:
            ends = [size + added for added in sizes]
            return self._matching(Ranked.prefixes(self.scene, order, ends, alone=alone))

        steps = Steps(self.options.chunk, pixels - size)
        hit = yield from first_passing(trial, steps, self.options.walk)
        if hit is None:
            return _complete(nothing, nothing, found=False)
        ends = torch.tensor([size]), torch.tensor([size + hit.size])
        scores = yield from ask(Ranked(self.scene, order, *ends, alone=True))
        mask = order < size + hit.size
        return _complete(
            mask,
            mask & ~core.mask,
            confidence=float(hit.judged.confidence[hit.row]),
            adjustment_class=int(scores[0].argmax()),
            adjustment_confidence=float(scores[0].max()),
        )

    def _sides(self, kept: Ranked | Mix, rest: Ranked | Mix) -> QueryPlan[Sides]:
        tau, rule = self.options.contrastive_tau, self.goal.rule
        goal = self.goal if tau is None else replace(self.goal, floor=tau * self.confidence)
        both = yield from decide(join([kept, rest]), goal)
        apart = [slice(len(kept)), slice(len(kept), None)]
        own, other = (
            Verdicts(both.passes[rows], both.confidence[rows], both.scores[rows]) for rows in apart
        )
        return Sides(own.passes & ~rule.decides(other.scores, goal.target), own, other)

    def _matching(self, query: Ranked) -> QueryPlan[Verdicts]:
        """Judge whether the label is kept at the whole image's confidence, near rows alone."""
        goal, tolerance = replace(self.goal, floor=0.0), self.options.complete_tol
        verdicts = yield from decide(query, goal)
        apart = (verdicts.confidence - self.confidence).abs()
        near = (apart - tolerance).abs() < EPSILON
        if bool(near.any()) and not query.alone:
            scores = verdicts.scores.clone()
            rows = near.nonzero().flatten().tolist()
            scores[near] = yield from ask(select(query, rows, alone=True))
            verdicts = goal.judge(scores)
            apart = (verdicts.confidence - self.confidence).abs()
        return replace(verdicts, passes=verdicts.passes & (apart <= tolerance))


def _subsets(count: int) -> Iterator[tuple[int, ...]]:
    sizes = range(1, count + 1)
    return (subset for size in sizes for subset in combinations(range(count), size))


def _contrast(
    mask: Region, hit: Hit[Sides], *, ranked_px: int = 0, members: tuple[int, ...] = ()
) -> ContrastiveSet:
    area, rest = int(mask.sum()), hit.judged.rest.scores[hit.row]
    return ContrastiveSet(
        found=True,
        mask=mask,
        area_px=area,
        area_fraction=area / mask.numel(),
        confidence=float(hit.judged.kept.confidence[hit.row]),
        rest_class=int(rest.argmax()),
        rest_confidence=float(rest.max()),
        ranked_px=ranked_px,
        members=members,
    )


def _no_contrast(rank: Rank) -> ContrastiveSet:
    nothing = torch.zeros_like(rank, dtype=torch.bool)
    return ContrastiveSet(found=False, mask=nothing, area_px=0, area_fraction=0.0)


def _complete(
    mask: Region,
    adjustment: Region,
    *,
    found: bool = True,
    confidence: float | None = None,
    adjustment_class: int | None = None,
    adjustment_confidence: float | None = None,
) -> CompleteSet:
    area = int(mask.sum())
    return CompleteSet(
        found=found,
        mask=mask,
        adjustment=adjustment,
        area_px=area,
        area_fraction=area / mask.numel(),
        confidence=confidence,
        adjustment_class=adjustment_class,
        adjustment_confidence=adjustment_confidence,
    )
