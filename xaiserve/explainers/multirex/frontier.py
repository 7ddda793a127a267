"""Which boxes one search refines next.

`Tool` is what ReX 0.4.1 computes: of the last split that was tried, the passing mutants are refined
without the boxes that were held beside them. `Held` keeps a set of boxes that is sufficient
throughout, and refines one of them at a time.
"""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from xaiserve.explainers.multirex.boxes import BoxNode, Splitter
from xaiserve.explainers.multirex.mutants import ALL, PLACES, SUBSETS, Split, Table
from xaiserve.explainers.multirex.options import MultiRexOptions

Areas = NDArray[np.int64]
"""(s, 16): visible pixels per split and mutant."""


class Frontier(Protocol):
    """The state of one search between rounds."""

    def splits(self, room: int | None) -> list[Split]:
        """List what the next round tries; nothing when the search has ended.

        No further job begins once more than ``room`` mutants are listed.
        """
        ...

    def learn(self, splits: Sequence[Split], passes: Table, areas: Areas) -> None:
        """Take the verdicts of a round."""
        ...


class Tool:
    """Frontier ``rex``: jobs are sets of boxes; each box of a job is split, the others held.

    A job ends at its first box that cannot be split. Of a round's splits only the last one's
    passing mutants become jobs.
    """

    def __init__(
        self, iteration: int, root: BoxNode, splitter: Splitter, options: MultiRexOptions
    ) -> None:
        self._iteration = iteration
        self._splitter = splitter
        self._options = options
        self._jobs: list[tuple[BoxNode, ...]] = [(root,)]
        self._sufficient = True

    def splits(self, room: int | None) -> list[Split]:
        found: list[Split] = []
        for job in self._jobs:
            if room is None or len(found) * len(SUBSETS) <= room:
                found += self._split(job)
        return found

    def _split(self, job: tuple[BoxNode, ...]) -> list[Split]:
        found = []
        for index, box in enumerate(job):
            cut = self._splitter(self._iteration, box)
            if cut is None:
                break
            held = job[:index] + job[index + 1 :]
            found.append(Split(self._iteration, box, cut, held, self._sufficient))
        return found

    def learn(self, splits: Sequence[Split], passes: Table, areas: Areas) -> None:
        last = splits[-1]
        chosen = self._queue(passes[-1, : len(SUBSETS)], areas[-1])
        self._jobs = [last.active(mutant) for mutant in chosen]
        # What was held is forgotten: the boxes of a job are known to pass only without it.
        self._sufficient = not last.held

    def _queue(self, passes: NDArray[np.bool_], areas: NDArray[np.int64]) -> list[int]:
        """Choose which passing mutants become jobs, and in which order.

        ``queue_len`` counts for styles ``area`` and ``intersection`` only. ``dc`` would add what
        is left of the last queue; every job of a queue is worked off in a round, so it is ``all``.
        """
        style, length = self._options.queue_style, self._options.queue_len
        if style == "area" and length == 1:
            best = int(np.where(passes, areas[: len(SUBSETS)], _NEVER).argmin())
            return [best] if passes[best] else []
        chosen: list[int] = np.flatnonzero(passes).tolist()
        if style in {"all", "dc"}:
            return chosen
        if style == "intersection":
            chosen = _sharing(chosen)
        return sorted(chosen, key=lambda mutant: areas[mutant])[:length]


_NEVER: Final = np.iinfo(np.int64).max


def _sharing(mutants: list[int]) -> list[int]:
    """Keep the mutants with the children that all of them show.

    Where there are none, with those that all but the first show; but the first two; and so on.
    """
    for index in range(len(mutants)):
        common = set.intersection(*(set(PLACES[mutant]) for mutant in mutants[index:]))
        if common:
            return [mutant for mutant in mutants if common <= set(PLACES[mutant])]
    return mutants


class Held:
    """Frontier ``held``: a set of boxes that passes at every step, largest refined first.

    A box is replaced by the smallest passing subset of its children, the empty one included; one of
    which nothing passes is final. The set's area is an upper bound of a smallest explanation's.

    Attributes
    ----------
    certificates
        The set's visible pixels, from the root's on, one more per round; never grows.
    """

    def __init__(self, iteration: int, root: BoxNode, splitter: Splitter) -> None:
        self._iteration = iteration
        self._splitter = splitter
        self._state: list[BoxNode] = [root]
        self._final: set[str] = set()
        self.certificates = [root.area]

    def splits(self, room: int | None) -> list[Split]:  # noqa: ARG002 -- one job a round
        for box in sorted(self._state, key=lambda one: (-one.area, one.path)):
            if box.path in self._final:
                continue
            cut = self._splitter(self._iteration, box)
            if cut is not None:
                held = tuple(other for other in self._state if other is not box)
                return [Split(self._iteration, box, cut, held)]
            self._final.add(box.path)
        return []

    def learn(self, splits: Sequence[Split], passes: Table, areas: Areas) -> None:
        (split,) = splits
        best = int(np.where(passes[0, :ALL], areas[0, :ALL], _NEVER).argmin())
        if passes[0, best]:
            self._state = [*split.held, *split.active(best)]
            self.certificates.append(int(areas[0, best]))
        else:
            self._final.add(split.node.path)
            self.certificates.append(self.certificates[-1])
