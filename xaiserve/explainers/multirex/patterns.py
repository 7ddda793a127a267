"""Several sets of pixels as one question: the picture cut where any of them has an edge."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from xaiserve.types import Labels, Region


def patterns(masks: Sequence[Region]) -> tuple[Labels, NDArray[np.bool_]]:
    """Group the pixels by the masks that hold them: labels (h, w), and (n, s) who holds which."""
    labels = np.zeros(masks[0].shape, dtype=np.int64)
    inside = np.zeros((0, 1), dtype=np.bool_)
    for mask in masks:
        old, labels = np.unique(2 * labels + mask.numpy(), return_inverse=True)
        inside = np.concatenate([inside[:, old // 2], (old % 2 == 1)[None]])
    return torch.from_numpy(labels), inside
