"""The order of pixels by responsibility, and discs of them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from xaiserve.types import Rank, Region, Saliency


@dataclass(frozen=True, slots=True, eq=False)
class Disc:
    """The pixels at most ``radius`` from (``row``, ``column``)."""

    row: int
    column: int
    radius: int


def ranking(saliency: Saliency, inside: Region | None = None) -> Rank:
    """Give each pixel its place (0 first) by descending (inside, saliency, linear index)."""
    values = saliency.flatten().numpy()
    index = np.arange(len(values))
    outside = np.zeros_like(index) if inside is None else ~inside.flatten().numpy()
    order = np.lexsort((-index, -values, outside))
    rank = np.empty_like(index)
    rank[order] = index
    return torch.from_numpy(rank).view(saliency.shape)


def squared_distance(height: int, width: int, row: int, column: int) -> Rank:
    """Squared distance of each pixel to (row, column), (h, w)."""
    rows, columns = torch.arange(height) - row, torch.arange(width) - column
    return rows[:, None] ** 2 + columns**2


def growing_radii(radius: float, eta: float) -> Iterator[int]:
    """Yield radii without end: each the last one times 1 + eta, rounded down.

    At least one pixel longer than the last, so that small pictures make progress.
    """
    length = max(1, round(radius))
    while True:
        yield length
        length = max(math.floor(length * (1 + eta)), length + 1)
