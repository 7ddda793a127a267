"""Where spotlights look: at random, at the map's peaks, or uphill.

Section 4.4 of the method. All of it reads the map only and costs no model input.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from scipy import ndimage

from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.perturb.rng import Keys
from xaiserve.types import Saliency

REFERENCE_SIDE: Final = 224
"""The picture side, in pixels, at which the published radii and steps are meant."""

Place = tuple[int, int]
"""Row and column of a pixel."""


def scale(options: MultiRexOptions, height: int, width: int) -> float:
    """Say what the published radii and steps are multiplied by."""
    return min(height, width) / REFERENCE_SIDE if options.scale_radii else 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """How the spotlights of one map choose where to look.

    Parameters
    ----------
    radius, step
        Of the disc that is weighed, and between places along each side when climbing; in pixels.
    objective, start
        As in the options.
    """

    saliency: Saliency
    radius: int
    step: int
    objective: Literal["none", "mean", "max"]
    start: Literal["random", "peaks"]

    @classmethod
    def of(cls, saliency: Saliency, options: MultiRexOptions) -> "Places":
        """Take the options in this picture's pixels; a flat map cannot be climbed."""
        factor = scale(options, *saliency.shape)
        return cls(
            saliency,
            radius=max(1, round(options.spotlight_radius * factor)),
            step=max(1, round(options.spotlight_step * factor)),
            objective=options.objective if bool(saliency.any()) else "none",
            start=options.start,
        )

    def starts(self, count: int) -> list[Place | None]:
        """Say where each of ``count`` spotlights begins; none for anywhere.

        ``peaks``: the highest first, ties in row order. A peak is positive and the largest value
        of the square of side 2 ``radius`` + 1 around it; the disc around a peak taken is removed.
        """
        peaks: list[Place | None] = []
        if self.start == "peaks":
            values = self.saliency.numpy()
            highest = ndimage.maximum_filter(values, size=2 * self.radius + 1)
            left = np.where((values == highest) & (values > 0), values, -1.0)
            while len(peaks) < count and left.max() > 0:
                row, column = divmod(int(left.argmax()), left.shape[1])
                peaks.append((row, column))
                rows, columns = np.ogrid[: left.shape[0], : left.shape[1]]
                left[(rows - row) ** 2 + (columns - column) ** 2 <= self.radius**2] = -1.0
        return peaks + [None] * (count - len(peaks))

    def visit(self, keys: Keys, count: int, first: Place | None = None) -> Iterator[Place]:
        """Yield up to ``count`` different places: ``first``, then uphill ones, else random ones."""
        seen, place = set[Place](), first
        for move in range(min(count, self.saliency.numel())):
            if place is not None and move:
                place = self._uphill(keys.child("climb", move), place, seen)
            if place is None:
                place = self._anywhere(keys, move, seen)
            seen.add(place)
            yield place

    def _anywhere(self, keys: Keys, move: int, seen: set[Place]) -> Place:
        """Draw a pixel that was not visited, uniformly."""
        attempt = 0
        while True:
            row, column = keys.child(move, attempt).below(*self.saliency.shape)
            if (row, column) not in seen:
                return row, column
            attempt += 1

    def _uphill(self, keys: Keys, left: Place, seen: set[Place]) -> Place | None:
        """Step diagonally at random until the objective is not below that of the place left.

        None when there is no objective, or after 2 ``step`` tentative steps.
        """
        if self.objective == "none":
            return None
        floor, (row, column) = self.weigh(left), left
        height, width = self.saliency.shape
        for attempt in range(2 * self.step):
            down, right = keys.child(attempt).below(2, 2)
            row = min(max(row + (2 * down - 1) * self.step, 0), height - 1)
            column = min(max(column + (2 * right - 1) * self.step, 0), width - 1)
            if (row, column) not in seen and self.weigh((row, column)) >= floor:
                return row, column
        return None

    def weigh(self, place: Place) -> float:
        """Return the objective at ``place``: the map's mean, or largest value, over its disc."""
        row, column = place
        top, left = max(row - self.radius, 0), max(column - self.radius, 0)
        window = self.saliency.numpy()[top : row + self.radius + 1, left : column + self.radius + 1]
        rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
        distance = (rows + top - row) ** 2 + (columns + left - column) ** 2
        values = window[distance <= self.radius**2]
        return float(values.max() if self.objective == "max" else values.mean(dtype=np.float64))
