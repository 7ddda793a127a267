"""The one table of an explanation: what the classifier said about each mask.

Masks repeat heavily; only new ones are asked. Every row near a number that something is decided by
is asked again alone, so that no decision depends on company.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64

from xaiserve.explainers.clear_image.parts import Decision
from xaiserve.models.spec import Rule
from xaiserve.perturb.plan import EPSILON, Event, ask
from xaiserve.perturb.query import Mix, Query, Scene, select
from xaiserve.types import Labels, Scores

Masks = Bool[np.ndarray, "_ s"]
"""True where a segment shows the image, one mask per row."""

Vector = Float64[np.ndarray, " _"]
Flags = Bool[np.ndarray, " _"]
Places = Int64[np.ndarray, " _"]

Asks = Generator[Query | Event, Scores | None, None]
"""Part of a plan that leaves its result in the object it belongs to."""

ROUND_ROWS: Final = 256
"""Masks per question: what has been answered stays when the plan is stopped."""

HALF: Final = 0.5


@dataclass(frozen=True, slots=True)
class Boundary:
    """What keeps the label: reaching a probability, or being the top class of many."""

    kind: Decision
    value: float
    rule: Rule
    target: int

    @classmethod
    def of(cls, rule: Rule, target: int, classes: int, stated: float | None) -> "Boundary":
        """Take the stated probability, else the model's rule; 0.5 for two classes."""
        if stated is not None:
            return cls("boundary", stated, rule, target)
        if rule.thresholds:
            return cls("threshold", rule.thresholds[target], rule, target)
        two = classes == 2  # noqa: PLR2004
        return cls("boundary" if two else "argmax", HALF, rule, target)

    def margins(self, scores: Scores) -> torch.Tensor:
        """Say how far each row is from the decision; kept at 0 and above, but see `keeps`."""
        if self.kind == "argmax":
            return self.rule.margins(scores, self.target)
        return scores[:, self.target] - self.value

    def keeps(self, scores: Scores) -> torch.Tensor:
        if self.kind == "argmax":
            return self.rule.decides(scores, self.target)
        return scores[:, self.target] >= self.value


class Table:
    """Distinct masks, and the classifier's probability and decision for each.

    Parameters
    ----------
    scene, labels
        What a mask chooses between, and where its segments are.
    segments
        How many, background included.
    boundary
        The decision.
    thresholds
        Other probabilities that something is decided by.
    """

    def __init__(
        self,
        scene: Scene,
        labels: Labels,
        segments: int,
        boundary: Boundary,
        thresholds: Sequence[float],
    ) -> None:
        self.segments = segments
        self.boundary = boundary
        self._scene, self._labels = scene, labels
        self._thresholds = thresholds
        self._empty = torch.bincount(labels.flatten(), minlength=segments).numpy() == 0
        self._place: dict[bytes, int] = {}
        self._masks: list[Masks] = []
        self._p: list[float] = []
        self._keeps: list[bool] = []
        self._alone: list[bool] = []
        self.issued = 0
        """Masks asked about, repeats included."""

    @property
    def masks(self) -> Masks:
        """The distinct masks, in the order asked."""
        return np.concatenate(self._masks)

    def __len__(self) -> int:
        return len(self._place)

    def note(self, masks: Masks, scores: Scores) -> None:
        """Take the answers to masks that were scored alone elsewhere."""
        self._note(self._canonical(masks), scores, np.ones(len(masks), dtype=np.bool_))

    def ask(self, masks: Masks, *, counted: bool = True) -> Asks:
        """Ask about those of ``masks`` that are new; ``counted`` when the method would, too."""
        self.issued += len(masks) if counted else 0
        masks = self._canonical(masks)
        new = masks[_first_of_each(masks)]
        new = new[[key not in self._place for key in _keys(new)]]
        for start in range(0, len(new), ROUND_ROWS):
            yield from self._ask(new[start : start + ROUND_ROWS])

    def confirm(self, masks: Masks) -> Asks:
        """Ask about those of ``masks`` alone that were not: they are about to be released."""
        masks = self._canonical(masks)
        masks = masks[_first_of_each(masks)]
        places = (self._place.get(key) for key in _keys(masks))
        new = masks[[place is None or not self._alone[place] for place in places]]
        if len(new):
            scores = yield from ask(self._mix(new, alone=True))
            self._note(new, scores, np.ones(len(new), dtype=np.bool_))

    def knows(self, masks: Masks) -> Flags:
        keys = _keys(self._canonical(masks))
        return np.fromiter((key in self._place for key in keys), np.bool_, len(keys))

    def places(self, masks: Masks) -> Places:
        """Find each mask's row in `masks`."""
        keys = _keys(self._canonical(masks))
        return np.fromiter((self._place[key] for key in keys), np.int64, len(keys))

    def p(self, masks: Masks) -> Vector:
        """Look up the probabilities of masks that were asked."""
        return np.asarray(np.array(self._p)[self.places(masks)])

    def keeps(self, masks: Masks) -> Flags:
        """Look up whether the label is kept, for masks that were asked."""
        return np.asarray(np.array(self._keeps)[self.places(masks)])

    def _ask(self, masks: Masks) -> Asks:
        question = self._mix(masks)
        scores = yield from ask(question)
        near = self._near(scores)
        if near.any():
            rows = np.flatnonzero(near).tolist()
            scores = scores.clone()
            scores[torch.from_numpy(near)] = yield from ask(select(question, rows, alone=True))
        self._note(masks, scores, near)

    def _mix(self, masks: Masks, *, alone: bool = False) -> Mix:
        return Mix(self._scene, self._labels, torch.from_numpy(masks), alone=alone)

    def _near(self, scores: Scores) -> Flags:
        own = scores[:, self.boundary.target]
        gaps = [self.boundary.margins(scores).abs(), *((own - t).abs() for t in self._thresholds)]
        return np.asarray((torch.stack(gaps).amin(dim=0) < EPSILON).numpy())

    def _note(self, masks: Masks, scores: Scores, alone: Flags) -> None:
        own = scores[:, self.boundary.target].tolist()
        kept = self.boundary.keeps(scores).tolist()
        fresh: list[int] = []
        for row, key in enumerate(_keys(masks)):
            place = self._place.setdefault(key, len(self._p))
            if place == len(self._p):
                fresh.append(row)
                self._p.append(own[row])
                self._keeps.append(kept[row])
                self._alone.append(bool(alone[row]))
            else:
                self._p[place], self._keeps[place] = own[row], kept[row]
                self._alone[place] = True
        self._masks.append(masks[fresh])

    def _canonical(self, masks: Masks) -> Masks:
        """Let segments without pixels always show the image: they change nothing."""
        return np.asarray(masks | self._empty)


def _keys(masks: Masks) -> list[bytes]:
    return [row.tobytes() for row in np.packbits(masks, axis=1)]


def _first_of_each(masks: Masks) -> Places:
    """Find the first row of each distinct mask, ascending."""
    found: dict[bytes, int] = {}
    for row, key in enumerate(_keys(masks)):
        found.setdefault(key, row)
    return np.array(list(found.values()), dtype=np.int64)
