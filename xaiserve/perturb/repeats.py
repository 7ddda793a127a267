"""What a plan has asked before is not scored again.

Rows are compared by the keys of their visible sets (`perturb.set_keys`): `Mix` gets them from sums
per segment, `Boxes` from a summed-area table, for all rows at once, so that equal sets meet even
when they were described differently.

`Ranked`, `Blend` and `Pixels` have no keys: summing along a ranking, or digesting whole pictures,
costs more than their rare repeats would save.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import Final
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Float32
from numpy.typing import NDArray
from torch import Tensor

from xaiserve.perturb.query import Boxes, Joined, Leaf, Mix, Query, Scene, leaves
from xaiserve.perturb.set_keys import SetKeys, box_keys, mix_keys, scene_key, segment_sums
from xaiserve.types import Labels, Scores

Places = NDArray[np.int64]

KEPT_SCORES: Final = 1 << 20
"""Most numbers one plan keeps; what it asks once they are full is scored, and not kept."""

KEPT_BYTES: Final = 4 * KEPT_SCORES

KEPT_LABELS: Final = 2
"""Segmentations whose sums are kept: two sets are made small at a time."""


class Table:
    """Where the scores of a key are kept: keys in ascending order of their first half."""

    def __init__(self) -> None:
        self._keys: SetKeys = np.zeros((0, 2), dtype=np.uint64)
        self._places: Places = np.zeros(0, dtype=np.int64)

    def find(self, keys: SetKeys) -> Places:
        """Look up ``keys``; -1 where one is unknown."""
        if not len(self._keys):
            return np.full(len(keys), -1)
        at = np.searchsorted(self._keys[:, 0], keys[:, 0]).clip(max=len(self._keys) - 1)
        return np.where((self._keys[at] == keys).all(axis=1), self._places[at], -1)

    def add(self, keys: SetKeys, places: Places) -> None:
        order = np.argsort(keys[:, 0])
        at = np.searchsorted(self._keys[:, 0], keys[order, 0])
        self._keys = np.insert(self._keys, at, keys[order], axis=0)
        self._places = np.insert(self._places, at, places[order])


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A question less its repeats.

    Parameters
    ----------
    query
        What must be scored.
    place
        (n,): where the scores of a row of the whole question are kept; -1 when they are not.
    source
        (n,): the row of the whole question that is scored for this one; itself, mostly.
    keys
        (n, 2), zero for rows without a key.
    keyed, alone
        (n,) bool.
    """

    query: Query
    place: Places
    source: Places
    keys: SetKeys
    keyed: NDArray[np.bool_]
    alone: NDArray[np.bool_]

    @property
    def scored(self) -> NDArray[np.bool_]:
        scored: NDArray[np.bool_] = (self.place < 0) & (self.source == np.arange(len(self.source)))
        return scored

    @property
    def repeats(self) -> int:
        return len(self.source) - len(self.query)


class Repeats:
    """The scores that one plan has been given; used by one thread at a time.

    A row that must be scored alone is answered only from a row that was.
    """

    def __init__(self, classes: int, kept_scores: int = KEPT_SCORES) -> None:
        self._scores = torch.empty(kept_scores // classes, classes)
        self._kept = 0
        self._alone, self._together = Table(), Table()
        self._scenes: WeakKeyDictionary[Scene, SetKeys] = WeakKeyDictionary()
        self._drawn = 0
        self._sums: deque[tuple[Labels, SetKeys]] = deque(maxlen=KEPT_LABELS)

    def reduce(self, query: Query) -> Asked:
        """Take out of ``query`` what was answered before, and all but the first of equal rows."""
        parts = leaves(query)
        sizes = [len(part) for part in parts]
        keyed = np.repeat(np.array([isinstance(part, Mix | Boxes) for part in parts], bool), sizes)
        alone = np.repeat(np.array([part.alone for part in parts], bool), sizes)
        source = np.arange(len(query))
        if not keyed.any():
            none = np.full(len(query), -1)
            return Asked(query, none, source, np.zeros((len(query), 2), np.uint64), keyed, alone)
        keys = np.concatenate([self._keys(part) for part in parts])
        place = np.where(keyed, self._alone.find(keys), -1)
        place = np.where(keyed & ~alone & (place < 0), self._together.find(keys), place)
        fresh = np.flatnonzero(keyed & (place < 0))
        source[fresh] = fresh[_first_equal(keys[fresh], alone[fresh])]
        asked = Asked(query, place, source, keys, keyed, alone)
        scored = np.split(asked.scored, np.cumsum(sizes)[:-1])
        left = [_only(part, rows) for part, rows in zip(parts, scored, strict=True) if rows.any()]
        return replace(asked, query=left[0] if len(left) == 1 else Joined(tuple(left)))

    def restore(self, asked: Asked, scores: Scores) -> Float32[Tensor, "whole k"]:
        """Answer the whole question, given the scores of what was asked; keep those."""
        whole = scores
        scored = asked.scored
        if asked.repeats:
            whole = scores.new_empty(len(scored), scores.shape[1])
            whole[torch.from_numpy(scored)] = scores
            known = asked.place >= 0
            whole[torch.from_numpy(known)] = self._scores[torch.from_numpy(asked.place[known])]
            whole = whole[torch.from_numpy(asked.source)]
        self._keep(asked, np.flatnonzero(scored & asked.keyed), whole)
        return whole

    def _keep(self, asked: Asked, rows: Places, whole: Scores) -> None:
        rows = rows[: len(self._scores) - self._kept]
        if not len(rows):
            return
        places = self._kept + np.arange(len(rows))
        self._scores[self._kept : self._kept + len(rows)] = whole[torch.from_numpy(rows)]
        self._kept += len(rows)
        mine = asked.alone[rows]
        for table, chosen in ((self._alone, mine), (self._together, ~mine)):
            if chosen.any():
                table.add(asked.keys[rows[chosen]], places[chosen])

    def _keys(self, leaf: Leaf) -> SetKeys:
        if isinstance(leaf, Mix):
            return mix_keys(leaf, self._segments(leaf.labels)) + self._scene(leaf.scene)
        if isinstance(leaf, Boxes):
            return box_keys(leaf) + self._scene(leaf.scene)
        return np.zeros((len(leaf), 2), dtype=np.uint64)

    def _segments(self, labels: Labels) -> SetKeys:
        for known, sums in self._sums:
            if known is labels:
                return sums
        self._sums.append((labels, segment_sums(labels)))
        return self._sums[-1][1]

    def _scene(self, scene: Scene) -> SetKeys:
        """Add a number of its own per scene, so that one table serves all."""
        found = self._scenes.get(scene)
        if found is None:
            found = self._scenes[scene] = scene_key(self._drawn)
            self._drawn += 1
        return found


def _first_equal(keys: SetKeys, alone: NDArray[np.bool_]) -> Places:
    """Find, per row, the first row of equal key that is scored the same way."""
    _, first, inverse = np.unique(keys[:, 0] ^ alone, return_index=True, return_inverse=True)
    found = first[inverse]
    same = (keys[found] == keys).all(axis=1) & (alone[found] == alone)
    return np.where(same, found, np.arange(len(keys)))


def _only(leaf: Leaf, rows: NDArray[np.bool_]) -> Leaf:
    """Keep the rows of ``leaf`` that are True in ``rows``."""
    chosen = torch.from_numpy(rows)
    if bool(chosen.all()):
        return leaf
    if isinstance(leaf, Mix):
        return replace(leaf, keep=leaf.keep[chosen])
    if not isinstance(leaf, Boxes):
        raise TypeError(f"rows of {type(leaf).__name__} have no key and are never taken out")
    mine = chosen[leaf.row]
    number = torch.cumsum(chosen, 0) - 1
    row = number[leaf.row[mine]]
    return replace(leaf, boxes=leaf.boxes[mine], row=row, rows=int(chosen.sum()))
