"""`Sample`: the values of a bounded number of images, the same images whatever their order."""

from array import array
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xaiserve.metrics.estimates import Columns
from xaiserve.storage.ids import key_of

_SLACK: Final = 4
"""It is thinned when it exceeds its size by a fourth."""

_KEY_BYTES: Final = 8


class Sample:
    """Values of the images whose keys are least: 12 bytes an image and class, 8 more a metric.

    Parameters
    ----------
    metrics
        Values per image and class.
    kept
        Most images and classes; all while there are no more.
    """

    def __init__(self, metrics: int, kept: int) -> None:
        self._metrics = metrics
        self._kept = kept
        self._limit = 1 << (8 * _KEY_BYTES)
        self._keys = array("Q")
        self._groups = array("I")
        self._values = array("d")

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, image_id: str, group: int, values: Sequence[float | None]) -> None:
        """Take the values of an image, with the number of its class."""
        key = short_key(image_id)
        if key >= self._limit:
            return
        self._keys.append(key)
        self._groups.append(group)
        self._values.extend(np.nan if value is None else value for value in values)
        if len(self) > self._kept + self._kept // _SLACK:
            self._thin()

    def columns(self, metric: int, ranks: NDArray[np.int64], *, by_group: bool) -> Columns:
        """Return one metric where it has a value; ``ranks`` orders the groups."""
        if len(self) > self._kept:
            self._thin()
        values = np.array(self._values).reshape(-1, self._metrics)[:, metric]
        scored = ~np.isnan(values)
        values, keys = values[scored], np.array(self._keys)[scored]
        groups = ranks[np.array(self._groups, dtype=np.int64)[scored]]
        order = np.lexsort((values, groups, keys))
        groups = groups if by_group else np.zeros_like(groups)
        return Columns.of(values[order], keys[order], groups[order])

    def _thin(self) -> None:
        """Let go of the images beyond ``kept``; no later one of theirs is taken."""
        keys = np.array(self._keys)
        self._limit = int(np.partition(keys, self._kept)[self._kept])
        stay = keys < self._limit
        values = np.array(self._values).reshape(-1, self._metrics)[stay]
        self._keys = array("Q", keys[stay].tobytes())
        self._groups = array("I", np.array(self._groups)[stay].tobytes())
        self._values = array("d", values.tobytes())


def short_key(image_id: str) -> int:
    """Return 64 bits that stand for an image; of a million, two share them once in 10^7 times."""
    return int.from_bytes(key_of(image_id)[:_KEY_BYTES], "little")
