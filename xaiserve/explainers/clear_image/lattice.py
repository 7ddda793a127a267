"""All masks at once: exact answers where the published method samples and fits.

Not part of the published method. The background is a segment like any other here, but for
counterfactuals, which never replace it.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool

from xaiserve.explainers.clear_image.equation import Equation, predict
from xaiserve.explainers.clear_image.parts import Lattice, SegmentSet
from xaiserve.explainers.clear_image.table import Masks, Table, Vector

Members = Bool[np.ndarray, " _"]
"""Per set of segments, by its number; bit i of the number is segment i."""


def all_masks(segments: int) -> Masks:
    """List all masks; bit i of the row's number is segment i."""
    numbers = np.arange(1 << segments)
    return np.asarray((numbers[:, None] >> np.arange(segments)) & 1 == 1)


def exact_answers(table: Table, equation: Equation, tau: float, *, linear: bool) -> Lattice:
    """Read the answers off a table that holds all masks."""
    segments = table.segments
    masks = all_masks(segments)
    p = table.p(masks)
    keeps = table.keeps(masks)
    errors = np.abs(predict(equation, masks, linear=linear) - p)
    # Set r is replaced: the complement of r is shown. Sets with the background flip nothing.
    flips: Members = (keeps != keeps[-1])[::-1] & ~masks[:, 0]
    return Lattice(
        p=torch.from_numpy(p),
        shapley=torch.from_numpy(shapley(p, segments)),
        sufficient=minimal_sets(p >= tau, segments),
        counterfactuals=minimal_sets(flips, segments),
        mean_error=float(errors.mean()),
        max_error=float(errors.max()),
    )


def shapley(values: Vector, segments: int) -> Vector:
    """Share ``values[-1] - values[0]`` among the segments: mean gain over all orders (Shapley)."""
    masks = all_masks(segments)
    size = masks.sum(axis=1)
    numbers = np.arange(len(values))
    # Orders in which a set of k comes first and then i: k! (s - k - 1)! of s!.
    share = np.array([1 / (segments * math.comb(segments - 1, least)) for least in range(segments)])
    found = np.empty(segments)
    for segment in range(segments):
        without = numbers[~masks[:, segment]]
        gain = values[without | (1 << segment)] - values[without]
        found[segment] = share[size[without]] @ gain
    return found


def minimal_sets(holds: Members, segments: int) -> tuple[SegmentSet, ...]:
    """List the sets that hold while no proper subset does; by size, then by number.

    The empty set is the only one where it holds.
    """
    masks = all_masks(segments)
    numbers = np.arange(len(holds))
    below = holds.copy()
    for segment in range(segments):
        have = numbers[masks[:, segment]]
        below[have] |= below[have ^ (1 << segment)]
    proper = np.zeros_like(holds)
    for segment in range(segments):
        have = numbers[masks[:, segment]]
        proper[have] |= below[have ^ (1 << segment)]
    found = [tuple(np.flatnonzero(masks[at]).tolist()) for at in np.flatnonzero(holds & ~proper)]
    return tuple(sorted(found, key=lambda each: (len(each), each)))
