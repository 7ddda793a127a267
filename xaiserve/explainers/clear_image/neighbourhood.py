"""The random masks around the image, and what each of them counts in the regression."""

import math
from typing import Final

import numpy as np

from xaiserve.explainers.clear_image.equation import Rows
from xaiserve.explainers.clear_image.masks import mutants, random_masks, without
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.parts import SegmentSet
from xaiserve.explainers.clear_image.table import Asks, Masks, Table, Vector
from xaiserve.perturb.plan import Progress
from xaiserve.perturb.rng import Keys

MORE: Final = 1.2
"""Mutants tried per one that is missing."""

ENDS_SHARE: Final = 0.1
"""What the image, and the contrast, count more than a mask drawn once, as a share of the draws."""

SINGLE_FACTOR: Final = 21
"""What a counterfactual of one segment counts for, where there are larger ones too."""


class Neighbourhood:
    """The sample of one table.

    Attributes
    ----------
    poor
        No mask of the sample is informative.
    """

    def __init__(self, table: Table, options: ClearOptions, keys: Keys) -> None:
        self._table = table
        self._options = options
        self._keys = keys
        self._sample = random_masks(
            options.samples, table.segments, options.max_replaced, keys.child("sample")
        )
        self._more: Masks = self._sample[:0]
        self.poor = False

    def run(self) -> Asks:
        """Ask about the sample, and about mutants where too few of it are informative."""
        yield from self._table.ask(self._sample)
        yield Progress("neighbourhood", len(self._sample), len(self._sample))
        informative = self._sample[self._informative(self._sample)]
        self.poor = len(informative) == 0
        missing = math.ceil(self._options.informative_share * len(self._sample)) - len(informative)
        if missing > 0 and not self.poor:
            yield from self._top_up(informative, missing)

    def _top_up(self, informative: Masks, missing: int) -> Asks:
        """Keep informative mutants until there are enough; too few are none."""
        kept, drawn, turn = informative[:0], 0, 0
        most = 2 * self._options.samples
        while len(kept) < missing and drawn < most:
            count = min(math.ceil(MORE * missing), self._options.samples, most - drawn)
            parity = self._options.mode == "parity"
            made = mutants(informative, count, self._keys.child("mutants", turn), parity=parity)
            yield from self._table.ask(made)
            kept = np.concatenate([kept, made[self._informative(made)]])
            drawn, turn = drawn + count, turn + 1
            yield Progress("informative masks", min(len(kept), missing), missing)
        if len(kept) >= missing:
            self._more = kept[:missing]

    def _informative(self, masks: Masks) -> np.ndarray:
        p, options = self._table.p(masks), self._options
        return np.asarray((p >= options.informative_low) & (p <= options.informative_high))

    def rows(self, counterfactuals: tuple[SegmentSet, ...]) -> Rows:
        """Weigh the distinct masks; of a sample that was cut short, those that were scored."""
        table, options = self._table, self._options
        drawn = np.concatenate([self._sample, self._more])
        drawn = drawn[table.knows(drawn)]
        sampled = self._counted(drawn) if len(drawn) else np.ones(len(table))
        weights = sampled.copy()
        ends = np.stack([np.ones(table.segments, np.bool_), np.zeros(table.segments, np.bool_)])
        weights[table.places(ends)] += ENDS_SHARE * options.samples
        larger = any(len(each) > 1 for each in counterfactuals)
        for each in counterfactuals:
            factor = SINGLE_FACTOR if larger and len(each) == 1 else 1
            place = table.places(without([each], table.segments))
            weights[place] += factor * (1 + options.counterfactual_weight)
        used = weights > 0
        masks = table.masks
        return Rows(masks[used], table.p(masks[used]), weights[used], sampled[used])

    def _counted(self, masks: Masks) -> Vector:
        return np.bincount(self._table.places(masks), minlength=len(self._table)).astype(np.float64)
