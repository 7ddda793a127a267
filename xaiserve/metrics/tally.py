"""Tallies: statistics over images that merge in any order and grouping.

`Tally` holds the values themselves, one `Trial` per image and class, because a bootstrap resamples
them; it keeps them sorted, so that equal trials give equal tallies, however they were gathered, and
equal intervals to the last bit. See `gathering` for more images than one would hold.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from xaiserve.metrics.estimates import Columns, Estimate, HitRate, bootstrap
from xaiserve.perturb.rng import Keys


@dataclass(frozen=True, slots=True)
class Trial:
    """One metric of one explanation.

    Parameters
    ----------
    image_id
        What is resampled: trials of one image stay together.
    group
        Class of the image; `Tally.macro` averages over groups.
    value
        Finite; None where there is a ``reason``.
    """

    image_id: str
    group: str
    value: float | None
    reason: str = ""

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"value must be finite or missing, got {self.value}")


def _place(trial: Trial) -> tuple[str, str, str, float]:
    return (trial.image_id, trial.group, trial.reason, trial.value or 0.0)


@dataclass(frozen=True, slots=True)
class Tally:
    """Trials of one method and metric, in canonical order; `+` merges disjoint sets of trials."""

    trials: tuple[Trial, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "trials", tuple(sorted(self.trials, key=_place)))

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.trials + other.trials)

    @property
    def images(self) -> int:
        """Distinct images, scored or not."""
        return len({trial.image_id for trial in self.trials})

    @property
    def nulls(self) -> Mapping[str, int]:
        """Trials without a value, counted by reason."""
        return dict(Counter(trial.reason for trial in self.trials if trial.value is None))

    def hit_rate(self, keys: Keys) -> Estimate | None:
        """Estimate the share of hits; None where nothing was scored.

        Plain hits, all 0 or 1, have Wilson's interval; a fraction among them (several maxima) asks
        for the bootstrap.
        """
        values = [trial.value for trial in self.trials if trial.value is not None]
        if set(values) <= {0.0, 1.0}:
            return HitRate(round(sum(values)), len(values)).estimate()
        return self.micro(keys)

    def micro(self, keys: Keys) -> Estimate | None:
        """Estimate the plain mean over trials; None where nothing was scored."""
        return bootstrap(self._columns(by_group=False), keys)

    def macro(self, keys: Keys) -> Estimate | None:
        """Estimate the mean over groups of the mean over a group's trials.

        Groups without a scored trial are left out, in every resample too.
        """
        return bootstrap(self._columns(by_group=True), keys)

    def _columns(self, *, by_group: bool) -> Columns:
        scored = [trial for trial in self.trials if trial.value is not None]
        return Columns.of(
            [trial.value or 0.0 for trial in scored],
            [trial.image_id for trial in scored],
            [trial.group if by_group else "" for trial in scored],
        )


def differences(one: Tally, other: Tally) -> Tally:
    """Pair two methods on the same images and classes: ``one - other``, trial by trial.

    The mean of the result and its interval are the paired bootstrap. A trial that only one side
    scored counts as null: ``unpaired``.

    Raises
    ------
    ValueError
        A side has several trials of one image and class, which cannot be paired.
    """
    mine, theirs = _by_pair(one), _by_pair(other)
    return Tally(tuple(_difference(pair, mine, theirs) for pair in mine.keys() | theirs.keys()))


_Pair = tuple[str, str]


def _by_pair(tally: Tally) -> dict[_Pair, float | None]:
    found = {(trial.image_id, trial.group): trial.value for trial in tally.trials}
    if len(found) < len(tally.trials):
        raise ValueError(
            "trials must be of distinct images and classes to be paired, got "
            f"{len(tally.trials)} trials of {len(found)}"
        )
    return found


def _difference(
    pair: _Pair, mine: Mapping[_Pair, float | None], theirs: Mapping[_Pair, float | None]
) -> Trial:
    left, right = mine.get(pair), theirs.get(pair)
    if left is None or right is None:
        return Trial(*pair, None, "unpaired")
    return Trial(*pair, left - right)
