"""The responsibility map: independent random recursive splits, all iterations in lock-step.

One *iteration* splits the picture into four boxes at a random point, shows every non-empty proper
subset of them (14 *mutants*), rewards the boxes of the mutants that keep the label, and goes on
inside the smallest passing subset. Iterations are independent, so each round asks the questions of
all of them at once.

Section and step numbers refer to Chockler, Kelly, Kroening and Sun, arXiv 2411.08875, as its tool
ReX 0.4.1 computes it (scoring ``share``, frontier ``rex``, queue ``area`` of length 1).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from xaiserve.perturb.query import Boxes, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Saliency

SUBSETS: Final = tuple(subset for size in (1, 2, 3) for subset in combinations(range(4), size))
"""The 14 mutants of a split, in the order in which ties are broken."""

_PAIRS: Final = [(m, child) for m, subset in enumerate(SUBSETS) for child in subset]
_MUTANT: Final = np.array([m for m, _ in _PAIRS])
_CHILD: Final = np.array([child for _, child in _PAIRS])

UNIT: Final = 6
"""Rewards are counted in sixths: 1, 1/2 and 1/3 are integers then, and sums exact in any order."""

SPAN: Final = 80.0
"""Largest ratio, as a logarithm, of two values of a map: float32 holds 87 without loss."""

_REWARD: Final = np.zeros((len(SUBSETS), 4), dtype=np.int64)
_REWARD[_MUTANT, _CHILD] = [UNIT // len(SUBSETS[m]) for m in _MUTANT]


@dataclass(frozen=True, slots=True)
class BoxNode:
    """A rectangle ``[r0, r1) x [c0, c1)`` and its place in one iteration's tree."""

    r0: int
    r1: int
    c0: int
    c1: int
    path: str = "R"
    depth: int = 0

    @property
    def area(self) -> int:
        return (self.r1 - self.r0) * (self.c1 - self.c0)

    @property
    def corners(self) -> tuple[int, int, int, int]:
        return (self.r0, self.r1, self.c0, self.c1)

    def splittable(self, *, min_area: int, max_depth: int) -> bool:
        tall, wide = self.r1 - self.r0, self.c1 - self.c0
        return min(tall, wide) > 1 and self.area >= min_area and self.depth < max_depth

    def split(self, keys: Keys) -> tuple["BoxNode", "BoxNode", "BoxNode", "BoxNode"]:
        """Cut at an inner row and an inner column, both uniform; no child is empty."""
        down, right = keys.child(self.path).below(self.r1 - self.r0 - 1, self.c1 - self.c0 - 1)
        r, c = self.r0 + 1 + down, self.c0 + 1 + right
        return (
            self._child(0, self.r0, r, self.c0, c),
            self._child(1, self.r0, r, c, self.c1),
            self._child(2, r, self.r1, self.c0, c),
            self._child(3, r, self.r1, c, self.c1),
        )

    def _child(self, index: int, r0: int, r1: int, c0: int, c1: int) -> "BoxNode":
        return BoxNode(r0, r1, c0, c1, f"{self.path}:{index}", self.depth + 1)


@dataclass(frozen=True, slots=True)
class Split:
    """One box of a job cut in four, the job's other boxes held visible."""

    children: tuple[BoxNode, BoxNode, BoxNode, BoxNode]
    held: tuple[BoxNode, ...]

    def visible(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """List the boxes (m, 4) of the 14 mutants, and the mutant each belongs to (m,)."""
        children = np.array([child.corners for child in self.children])[_CHILD]
        if not self.held:
            return children, _MUTANT
        mutants = np.repeat(np.arange(len(SUBSETS)), len(self.held))
        held = np.tile([box.corners for box in self.held], (len(SUBSETS), 1))
        return np.concatenate([children, held]), np.concatenate([_MUTANT, mutants])

    def smallest(self, passing: NDArray[np.bool_]) -> tuple[BoxNode, ...]:
        """Pick the passing mutant of smallest visible area, the first on ties; its active boxes."""
        areas = [sum(self.children[child].area for child in subset) for subset in SUBSETS]
        best = min(np.flatnonzero(passing), key=lambda mutant: areas[mutant])
        return tuple(self.children[child] for child in SUBSETS[best])


@dataclass(slots=True)
class Iteration:
    """One random recursive search and the rewards that it has given."""

    keys: Keys
    job: tuple[BoxNode, ...]
    boxes: list[tuple[int, int, int, int]] = field(default_factory=list)
    rewards: list[int] = field(default_factory=list)
    splits: list[Split] = field(default_factory=list)

    def prepare(self, *, min_area: int, max_depth: int) -> bool:
        """Split the boxes of the job up to the first that cannot be; false when that is none."""
        self.splits = []
        for index, box in enumerate(self.job):
            if not box.splittable(min_area=min_area, max_depth=max_depth):
                break
            held = self.job[:index] + self.job[index + 1 :]
            self.splits.append(Split(box.split(self.keys), held))
        return bool(self.splits)

    def learn(self, passes: NDArray[np.bool_]) -> bool:
        """Take the verdicts (splits, 14) of a round; false when the search ends here.

        Only the passing mutants of the last split are refined, and the boxes that were held are
        forgotten: that is the tool's frontier.
        """
        for split, passing in zip(self.splits, passes, strict=True):
            for child, reward in zip(
                split.children, passing.astype(np.int64) @ _REWARD, strict=True
            ):
                if reward:
                    self.boxes.append(child.corners)
                    self.rewards.append(int(reward))
        if not passes[-1].any():
            return False
        self.job = self.splits[-1].smallest(passes[-1])
        return True


def start(keys: Keys, iterations: int, height: int, width: int) -> list[Iteration]:
    """Begin ``iterations`` searches on a picture of that size."""
    root = BoxNode(0, height, 0, width)
    return [Iteration(keys.child("split", i), (root,)) for i in range(iterations)]


def mutants(scene: Scene, live: Sequence[Iteration]) -> Boxes:
    """Ask for the 14 mutants of every split of every live iteration, in that order."""
    splits = [split for iteration in live for split in iteration.splits]
    shown = [split.visible() for split in splits]
    boxes = np.concatenate([boxes for boxes, _ in shown])
    rows = np.concatenate([rows + i * len(SUBSETS) for i, (_, rows) in enumerate(shown)])
    order = np.argsort(rows, kind="stable")
    return Boxes(
        scene,
        torch.from_numpy(boxes[order].astype(np.int64)),
        torch.from_numpy(rows[order].astype(np.int64)),
        rows=len(splits) * len(SUBSETS),
    )


def deal(passes: torch.Tensor, live: Sequence[Iteration]) -> list[Iteration]:
    """Hand each live iteration its verdicts; return those that go on."""
    verdicts = passes.numpy().reshape(-1, len(SUBSETS))
    ends = np.cumsum([len(iteration.splits) for iteration in live])
    shares = np.split(verdicts, ends[:-1])
    return [
        iteration for iteration, share in zip(live, shares, strict=True) if iteration.learn(share)
    ]


def merge(
    iterations: Sequence[Iteration], height: int, width: int, *, multiplicative: bool
) -> Saliency:
    """Merge the rewards S_i of all iterations into one map (h, w), largest value 1.

    Multiplicative: M = prod_i (1 + S_i) / max, summed as logarithms in float64; a root of it when
    it spans more than ``exp(SPAN)``, so that the order of small values survives in float32.
    Additive: M = sum_i S_i / max. All zero when no iteration rewarded anything.
    """
    total = np.zeros((height, width))
    for iteration in iterations:
        rewards = rasterise(iteration.boxes, iteration.rewards, height, width) / UNIT
        total += np.log1p(rewards) if multiplicative else rewards
    if not total.any():
        return torch.zeros(height, width)
    below = total - total.max()
    scale = SPAN / max(SPAN, -float(below.min()))
    merged = np.exp(below * scale) if multiplicative else total / total.max()
    return torch.from_numpy(merged.astype(np.float32))


def rasterise(
    boxes: Sequence[tuple[int, int, int, int]], rewards: Sequence[int], height: int, width: int
) -> NDArray[np.int64]:
    """Add ``rewards`` over their boxes, (h, w): corner differences, then two running sums."""
    corners = np.zeros((height + 1, width + 1), dtype=np.int64)
    if boxes:
        r0, r1, c0, c1 = np.array(boxes).T
        for rows, columns, sign in ((r0, c0, 1), (r0, c1, -1), (r1, c0, -1), (r1, c1, 1)):
            np.add.at(corners, (rows, columns), sign * np.asarray(rewards))
    summed: NDArray[np.int64] = corners.cumsum(axis=0).cumsum(axis=1)[:height, :width]
    return summed
