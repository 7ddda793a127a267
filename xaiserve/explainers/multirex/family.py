"""Choosing the family: the most sets whose pairwise overlap stays within a bound."""

from collections.abc import Sequence
from typing import Final

import torch

from xaiserve.types import Region

EXACT_UP_TO: Final = 64
"""Above this many sets the search is greedy and the result says so."""


def dice_matrix(masks: Sequence[Region]) -> torch.Tensor:
    """Dice(A, B) = 2 |A & B| / (|A| + |B|) of every pair, (n, n) float32; 0 when both are empty."""
    flat = torch.stack([mask.flatten().float() for mask in masks])
    common, sizes = flat @ flat.T, flat.sum(dim=1)
    return 2 * common / (sizes[:, None] + sizes).clamp(min=1)


def select_family(masks: Sequence[Region], overlap: float) -> tuple[tuple[int, ...], bool]:
    """Pick the largest family with pairwise Dice of at most ``overlap``.

    Empty sets and later duplicates never enter. Among the largest families the one of smallest
    total area wins, then the lexicographically first.

    Returns
    -------
    selected
        Ascending indices into ``masks``.
    exact
        False when there were more than 64 candidates and the search was greedy.
    """
    candidates = _distinct(masks)
    if not candidates:
        return (), True
    areas = [int(masks[i].sum()) for i in candidates]
    clash = (dice_matrix([masks[i] for i in candidates]) > overlap).fill_diagonal_(False).tolist()
    conflicts = [sum(1 << j for j, hit in enumerate(row) if hit) for row in clash]
    exact = len(candidates) <= EXACT_UP_TO
    chosen = independent_set(areas, conflicts) if exact else greedy_set(areas, conflicts)
    return tuple(candidates[i] for i in chosen), exact


def _distinct(masks: Sequence[Region]) -> list[int]:
    kept: list[int] = []
    for index, mask in enumerate(masks):
        if bool(mask.any()) and not any(torch.equal(mask, masks[other]) for other in kept):
            kept.append(index)
    return kept


def independent_set(areas: Sequence[int], conflicts: Sequence[int]) -> tuple[int, ...]:
    """Solve maximum independent set exactly, then minimum area, then first in lexicographic order.

    ``conflicts[i]`` is a bit set of the vertices that i clashes with. Branches on the vertex of
    most conflicts: in or out. What falls apart into components is solved apart, which keeps many
    small groups of overlapping sets from multiplying; solved parts are remembered.
    """
    solved: dict[int, tuple[int, ...]] = {}

    def key(chosen: tuple[int, ...]) -> tuple[int, int, tuple[int, ...]]:
        return (-len(chosen), sum(areas[i] for i in chosen), chosen)

    def solve(left: int) -> tuple[int, ...]:
        if left not in solved:
            parts = _components(left, conflicts)
            solved[left] = (
                tuple(sorted(i for part in parts for i in solve(part)))
                if len(parts) > 1
                else branch(left)
            )
        return solved[left]

    def branch(left: int) -> tuple[int, ...]:
        if left.bit_count() <= 1:
            return tuple(_bits(left))
        pick = max(_bits(left), key=lambda i: (conflicts[i] & left).bit_count())
        without = left & ~(1 << pick)
        taken = tuple(sorted((pick, *solve(without & ~conflicts[pick]))))
        return min(taken, solve(without), key=key)

    return solve((1 << len(areas)) - 1)


def greedy_set(areas: Sequence[int], conflicts: Sequence[int]) -> tuple[int, ...]:
    """Take vertices by fewest conflicts left, then smallest area; no promise of the most."""
    left, chosen = (1 << len(areas)) - 1, []
    while left:
        pick = min(_bits(left), key=lambda i: ((conflicts[i] & left).bit_count(), areas[i], i))
        chosen.append(pick)
        left &= ~conflicts[pick] & ~(1 << pick)
    return tuple(sorted(chosen))


def _bits(word: int) -> list[int]:
    return [i for i in range(word.bit_length()) if word >> i & 1]


def _components(left: int, conflicts: Sequence[int]) -> list[int]:
    """Split ``left`` into bit sets that no conflict connects."""
    found = []
    while left:
        part, edge = 0, left & -left
        while edge:
            part |= edge
            reached = 0
            for i in _bits(edge):
                reached |= conflicts[i]
            edge = reached & left & ~part
        found.append(part)
        left &= ~part
    return found
