"""Scores of any number of images in bounded memory.

Counts, means and hit rates are of all images, whatever their number. The bootstrap resamples all of
them up to `KEPT` images; of more it resamples the `KEPT` whose digests are least, which are drawn
evenly, depend on nothing but the images' ids, and are the same for every method. The deviations of
the resampled means then shrink by the root of the sample's share, as those of all images would.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from xaiserve.metrics.estimates import Estimate, HitRate, bootstrap
from xaiserve.metrics.sampling import Sample
from xaiserve.perturb.rng import Keys

KEPT: Final = 1 << 16
"""Images whose values are held per method: with three metrics about 3 MB. Resampling so many tells
a mean's deviation to 0.3 %, where a thousand resamples tell the ends of an interval to 3 %."""


class Gathering:
    """All scores of one method, image by image; make estimates when all are in.

    Parameters
    ----------
    metrics
        How many values an image and class have.
    kept
        Images whose values are held.
    """

    def __init__(self, metrics: int, kept: int = KEPT) -> None:
        self.images = 0
        self.nulls = Counter[str]()
        self._sums = tuple(_Sums() for _ in range(metrics))
        self._sample = Sample(metrics, kept)
        self._groups: dict[str, int] = {}
        self._last = ""

    def add(
        self,
        image_id: str,
        group: str | None,
        values: Sequence[float | None],
        reasons: Iterable[str],
    ) -> None:
        """Take the values of one image and class, and why some are missing.

        All classes of an image must come one after the other. An image without a class is counted,
        and has no values.

        Raises
        ------
        ValueError
            A value is not finite.
        """
        self.images += not self.images or image_id != self._last
        self._last = image_id
        self.nulls.update(set(reasons))
        if group is None:
            return
        place = self._groups.setdefault(group, len(self._groups))
        for sums, value in zip(self._sums, values, strict=True):
            if value is not None:
                sums.add(place, value)
        self._sample.add(image_id, place, values)

    def hit_rate(self, metric: int, keys: Keys) -> Estimate | None:
        """As `Tally.hit_rate`."""
        sums = self._sums[metric]
        if not sums.plain:
            return self.micro(metric, keys)
        return HitRate(round(sum(sums.totals.values())), sums.trials).estimate()

    def micro(self, metric: int, keys: Keys) -> Estimate | None:
        """As `Tally.micro`."""
        sums = self._sums[metric]
        if not sums.trials:
            return None
        return self._estimate(metric, sum(sums.totals.values()) / sums.trials, keys, by_group=False)

    def macro(self, metric: int, keys: Keys) -> Estimate | None:
        """As `Tally.macro`; with a sample, its interval leaves out classes that are not in it."""
        sums = self._sums[metric]
        if not sums.trials:
            return None
        means = [total / sums.counts[place] for place, total in sums.totals.items()]
        return self._estimate(metric, sum(means) / len(means), keys, by_group=True)

    def _estimate(self, metric: int, value: float, keys: Keys, *, by_group: bool) -> Estimate:
        ranks = np.argsort(np.argsort(list(self._groups)))
        columns = self._sample.columns(metric, ranks, by_group=by_group)
        found = bootstrap(columns, keys)
        share = columns.values.size / self._sums[metric].trials
        if found is None:
            return Estimate(value)
        if share == 1:  # bit for bit the same in whatever order the images came
            return found
        if found.low is None or found.high is None:
            return Estimate(value)
        low, high = (math.sqrt(share) * (end - found.value) for end in (found.low, found.high))
        return Estimate(value, value + low, value + high)


class _Sums:
    """One metric over all images, by the number of the group."""

    def __init__(self) -> None:
        self.counts = Counter[int]()
        self.totals: dict[int, float] = {}
        self.plain = True

    @property
    def trials(self) -> int:
        return self.counts.total()

    def add(self, group: int, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(f"value must be finite or missing, got {value}")
        self.counts[group] += 1
        self.totals[group] = self.totals.get(group, 0.0) + value
        self.plain = self.plain and value in {0.0, 1.0}
