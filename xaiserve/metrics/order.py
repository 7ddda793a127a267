"""The order of pixels by saliency."""

import numpy as np
import torch
from numpy.typing import NDArray

from xaiserve.perturb.rng import Keys
from xaiserve.types import Rank


def rank_pixels(values: NDArray[np.float64], keys: Keys) -> Rank:
    """Give each pixel its place in the order of decreasing value, (h, w), 0 first.

    Equal values come in random order: by position, a constant map would favour the top left.
    """
    shuffled = keys.child("ties").generator().permutation(values.size)
    order = shuffled[np.argsort(-values.ravel()[shuffled], kind="stable")]
    rank = np.empty(values.size, dtype=np.int64)
    rank[order] = np.arange(values.size)
    return torch.from_numpy(rank.reshape(values.shape))
