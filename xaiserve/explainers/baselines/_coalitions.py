"""Which coalitions Kernel SHAP asks about, and how much each counts."""

import itertools
import math

import numpy as np
import torch

from xaiserve.explainers.baselines._regression import RowWeights
from xaiserve.perturb.rng import Keys
from xaiserve.types import Keep


def coalitions(segments: int, budget: int, keys: Keys) -> tuple[Keep, RowWeights]:
    """Choose at most ``budget`` coalitions, neither empty nor whole, and their weights.

    Sizes are taken in pairs k and s - k from the outside in. While the budget's share of a pair
    covers all its coalitions they are enumerated, so that everything is when the budget allows it;
    the rest of the budget is sampled.

    Returns
    -------
    tuple
        Coalitions (n, s), no two equal, and weights (n,) of sum 1. A size's weights sum to its
        share of the Shapley kernel, theorem 2: ``(s - 1) / (C(s, k) k (s - k))`` per coalition.
    """
    mass = size_mass(segments)
    parts, left = [torch.empty(0, segments, dtype=torch.bool)], budget
    weights = [np.empty(0)]
    for small in range(1, segments // 2 + 1):
        sizes = sorted({small, segments - small})
        rows = sum(math.comb(segments, size) for size in sizes)
        share = sum(mass[size] for size in sizes) / sum(mass[small : segments - small + 1])
        if rows > left or (left * share < rows and left < remaining(segments, small)):
            sampled, counts = sample(segments, small, left, keys)
            parts.append(sampled)
            weights.append(counts * sum(mass[small : segments - small + 1]))
            break
        for size in sizes:
            parts.append(of_size(segments, size))
            weights.append(np.full(len(parts[-1]), mass[size] / len(parts[-1])))
        left -= rows
    return torch.cat(parts), torch.from_numpy(np.concatenate(weights))


def size_mass(segments: int) -> list[float]:
    """Share of the kernel's weight per coalition size, 0 at the sizes 0 and s."""
    inner = [1 / (size * (segments - size)) for size in range(1, segments)]
    total = sum(inner)
    return [0.0, *(share / total for share in inner), 0.0]


def remaining(segments: int, small: int) -> int:
    """Count the coalitions whose size is from ``small`` to ``segments - small``."""
    return sum(math.comb(segments, size) for size in range(small, segments - small + 1))


def of_size(segments: int, size: int) -> Keep:
    """Enumerate the coalitions of ``size`` segments in lexicographic order."""
    members = list(itertools.combinations(range(segments), size))
    keep = torch.zeros(len(members), segments, dtype=torch.bool)
    return keep.scatter_(1, torch.tensor(members), value=True)


def sample(segments: int, small: int, budget: int, keys: Keys) -> tuple[Keep, np.ndarray]:
    """Draw coalitions in complementary pairs, their sizes by the kernel.

    Returns
    -------
    tuple
        At most ``budget`` distinct coalitions of sizes ``small`` to ``segments - small``, and the
        share of the draws that fell on each.
    """
    generator = keys.generator()
    mass = np.array(size_mass(segments)[small : segments - small + 1])
    sizes = generator.choice(len(mass), size=budget // 2, p=mass / mass.sum()) + small
    # A random order of the segments per row; the first ones are the coalition.
    order = generator.random((len(sizes), segments)).argsort(axis=1).argsort(axis=1)
    drawn = order < sizes[:, None]
    keep, counts = np.unique(np.concatenate([drawn, ~drawn]), axis=0, return_counts=True)
    return torch.from_numpy(keep), counts / max(1, counts.sum())
