"""Make a sufficient set small: keep the top of its ranking, then drop blocks that it can spare."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from xaiserve.explainers.multirex.ranking import ranking
from xaiserve.explainers.multirex.walks import Steps, bracket
from xaiserve.perturb.plan import Goal, QueryPlan, Verdicts, decide
from xaiserve.perturb.query import Mix, Ranked, Scene
from xaiserve.types import Labels, Region, Saliency

BUCKET: Final = 0.125
"""Blocks whose slack differs by less are dropped in the order of their places."""

CLOSE: Final = 1e-3
"""How far company moves a slack at most, with room: logits move by 1e-5."""

Cells = NDArray[np.bool_]
"""(count,) or (n, count): the blocks that are shown."""

Places = NDArray[np.int64]

LARGEST: Final = 7
"""Along a side of the picture there are at least so many of the largest blocks."""


@dataclass(frozen=True, slots=True, eq=False)
class Pruning:
    """What minimising needs.

    Parameters
    ----------
    goal
        What a set must keep.
    saliency
        The map; its low end goes first.
    chunk
        Ranking step, in pixels.
    block_px
        Side of the smallest blocks; larger ones, doubling, come first.
    """

    scene: Scene
    goal: Goal
    saliency: Saliency
    chunk: int
    block_px: int

    def ranked(self, region: Region) -> QueryPlan[Region]:
        """Keep a prefix of the ranking inside ``region`` that passes; ``region`` if none does.

        Costs about 36 inputs.
        """
        rank = ranking(self.saliency, region)
        steps = Steps(self.chunk, int(region.sum()))

        def trial(sizes: Sequence[int], alone: bool) -> QueryPlan[Verdicts]:
            return decide(Ranked.prefixes(self.scene, rank, sizes, alone=alone), self.goal)

        number = yield from bracket(trial, steps)
        return region if number is None else rank < steps.sizes([number])[0]

    def spared(self, region: Region) -> QueryPlan[Region]:
        """Drop blocks, largest size first, as many at once as the set can spare.

        Each block is tried by itself, and those that can go are ordered by the margin that is left
        without them; then as many of that order go as possible, and the rest of them are tried
        again. Costs one to two inputs per block that meets the set, and about 10 per round.
        """
        for side in self._sides():
            labels, count = _blocks(region, side)
            if count > 1:
                region = yield from self._without(region, labels, count)
        return region

    def _without(self, region: Region, labels: Labels, count: int) -> QueryPlan[Region]:
        """Drop blocks until none of those that could go at first can go any more."""
        keep, able = np.ones(count, dtype=bool), np.arange(count)
        while len(able) and keep.sum() > 1:
            able = yield from self._able(labels, keep, able)
            dropped = yield from self._most(labels, keep, able)
            keep[able[:dropped]] = False
            # The next one is known to fail in this company.
            able = np.sort(able[dropped + 1 :])
        return region & _shown(labels, keep)

    def _able(self, labels: Labels, keep: Cells, blocks: Places) -> QueryPlan[Places]:
        """Pick those of ``blocks`` that can go by themselves, the most dispensable first."""
        rows = np.repeat(keep[None], len(blocks), axis=0)
        rows[np.arange(len(blocks)), blocks] = False
        verdicts = yield from self._ask(labels, rows)
        slack = yield from self._slack(labels, rows, verdicts)
        passes = verdicts.passes.numpy()
        order = np.argsort(np.where(passes, -slack, np.inf), kind="stable")
        able: Places = blocks[order[: int(passes.sum())]]
        return able

    def _most(self, labels: Labels, keep: Cells, able: Places) -> QueryPlan[int]:
        """Find how many of ``able``, from the first on, can go together."""
        if len(able) < 2:  # noqa: PLR2004 -- what can go by itself can go
            return len(able)

        def trial(numbers: Sequence[int], alone: bool) -> QueryPlan[Verdicts]:
            rows = np.repeat(keep[None], len(numbers), axis=0)
            for row, number in zip(rows, numbers, strict=True):
                row[able[: len(able) + 1 - number]] = False
            return self._ask(labels, rows, alone=alone)

        # Step i of the walk drops all but i - 1 of them; the last drops one, which passes.
        number = yield from bracket(trial, Steps(1, len(able)))
        return len(able) + 1 - (number or len(able))

    def _slack(
        self, labels: Labels, keep: Cells, verdicts: Verdicts
    ) -> QueryPlan[NDArray[np.float32]]:
        """Round the slack of each row down to a multiple of `BUCKET`.

        A row that company could move to another multiple is asked again alone, so that the order
        of blocks does not depend on it.
        """
        slack = self.goal.slack(verdicts.scores).numpy()
        off = np.abs(slack / BUCKET - np.rint(slack / BUCKET)) * BUCKET
        near = np.flatnonzero(off < CLOSE)
        if len(near):
            again = yield from self._ask(labels, keep[near], alone=True)
            slack[near] = self.goal.slack(again.scores).numpy()
        found: NDArray[np.float32] = np.floor(slack / BUCKET)
        return found

    def _ask(self, labels: Labels, keep: Cells, *, alone: bool = False) -> QueryPlan[Verdicts]:
        """Show blocks of the set, (n, count); what is outside the set stays hidden."""
        hidden = np.zeros((len(keep), 1), dtype=bool)
        rows = torch.from_numpy(np.concatenate([hidden, keep], axis=1))
        return (yield from decide(Mix(self.scene, labels, rows, alone), self.goal))

    def _sides(self) -> Iterator[int]:
        shorter = min(self.saliency.shape)
        doublings = 0
        while self.block_px << doublings + 1 <= shorter // LARGEST:
            doublings += 1
        for power in range(doublings, -1, -1):
            yield self.block_px << power


def _blocks(region: Region, side: int) -> tuple[Labels, int]:
    """Label by 1, 2, ... the blocks of a grid that meet ``region``, inside it; by 0 what is not."""
    height, width = region.shape
    rows, columns = torch.arange(height) // side, torch.arange(width) // side
    number = rows[:, None] * (width // side + 1) + columns + 1
    found, labels = torch.unique(number * region, return_inverse=True)
    if int(found[0]) != 0:
        return labels + 1, len(found)
    return labels, len(found) - 1


def _shown(labels: Labels, keep: Cells) -> Region:
    return torch.from_numpy(np.concatenate([[False], keep]))[labels]
