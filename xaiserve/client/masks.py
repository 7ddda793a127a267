"""Masks and maps as the service sends them, decoded to arrays."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xaiserve.storage.runs import runs_of


def mask_of(rle: Mapping[str, Any]) -> NDArray[np.bool_]:  # Any: JSON
    """Decode COCO's compressed run lengths to (h, w)."""
    height, width = rle["size"]
    runs = runs_of(rle["counts"])
    # The runs alternate, zeros first, down the columns.
    columns = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height)
    return np.ascontiguousarray(columns.T)


def map_of(saliency: Mapping[str, Any]) -> NDArray[np.float32] | None:  # Any: JSON
    """Decode the values of a map to (h, w); none where they were not asked for."""
    if saliency.get("data") is None:
        return None
    values = np.frombuffer(base64.b64decode(saliency["data"]), saliency["dtype"])
    return values.reshape(saliency["shape"]).astype(np.float32)
