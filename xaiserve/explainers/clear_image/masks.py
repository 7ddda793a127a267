"""Which masks are asked about: grids, random neighbours, and mutants of the informative ones."""

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np

from xaiserve.explainers.clear_image.parts import SegmentSet
from xaiserve.explainers.clear_image.table import Masks
from xaiserve.perturb.rng import Keys


def without(sets: Iterable[SegmentSet], segments: int) -> Masks:
    """Replace one set of segments per mask; all others show the image."""
    return ~only(sets, segments)


def only(sets: Iterable[SegmentSet], segments: int) -> Masks:
    """Show one set of segments per mask, and nothing else of the image."""
    listed = list(sets)
    shown = np.zeros((len(listed), segments), dtype=np.bool_)
    for row, each in enumerate(listed):
        shown[row, list(each)] = True
    return shown


def foreground_sets(segments: int, size: int) -> list[SegmentSet]:
    """List the sets of ``size`` segments without the background, in lexicographic order."""
    return list(itertools.combinations(range(1, segments), size))


def replaced(mask: Masks) -> list[SegmentSet]:
    """Say which segments each mask replaces."""
    return [tuple(np.flatnonzero(~row).tolist()) for row in mask]


def random_masks(samples: int, segments: int, most: int, keys: Keys) -> Masks:
    """Draw masks: a number from 1 to ``most``, then so many segments to replace, with replacement.

    Row 0 is the image itself.
    """
    draws = keys.generator()
    count = draws.integers(1, most + 1, size=samples)
    chosen = draws.integers(0, segments, size=(samples, most))
    masks = np.ones((samples, segments), dtype=np.bool_)
    rows, places = np.nonzero(np.arange(most) < count[:, None])
    masks[rows, chosen[rows, places]] = False
    masks[0] = True
    return masks


def mutants(informative: Masks, count: int, keys: Keys, *, parity: bool) -> Masks:
    """Make two mutants per draw of one informative mask and three segments, with replacement.

    The first has all three set to the opposite of what the first of them was. The second has the
    other two set to the opposite of that; for parity it is the first again.
    """
    draws = keys.generator()
    mask = informative[draws.integers(0, len(informative), size=count)]
    chosen = draws.integers(0, mask.shape[1], size=(count, 3))
    rows = np.arange(count)[:, None]
    was = mask[rows, chosen[:, :1]]
    first, second = mask.copy(), mask.copy()
    first[rows, chosen] = ~was
    second[rows, chosen[:, 1:]] = was
    pair = (first, first if parity else second)
    return np.stack(pair, axis=1).reshape(2 * count, -1)


def grid_counts(segments: int, depth: int) -> list[int]:
    """Count the masks of the grid by depth, from 1."""
    return [math.comb(segments - 1, size) for size in range(1, depth + 1)]


def minimal(sets: Iterable[SegmentSet], *, parity: bool) -> list[SegmentSet]:
    """Drop sets that hold another one; by size, then by number.

    Parity drops only where the smaller one's members stand next to each other in the larger one,
    as the released code's comparison of names does.
    """
    kept: list[SegmentSet] = []
    for one in sorted(sets, key=lambda each: (len(each), each)):
        if not any((_runs_in if parity else _within)(other, one) for other in kept):
            kept.append(one)
    return kept


def _within(small: SegmentSet, large: SegmentSet) -> bool:
    return set(small) <= set(large)


def _runs_in(small: Sequence[int], large: Sequence[int]) -> bool:
    starts = range(len(large) - len(small) + 1)
    return any(tuple(large[at : at + len(small)]) == tuple(small) for at in starts)
