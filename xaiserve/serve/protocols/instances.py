"""Instances of KServe's first protocol: from JSON to pictures."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import torch

from xaiserve.errors import InvalidInputError, TooLargeError
from xaiserve.serve.incoming.requests import Pictures, Upload
from xaiserve.serve.protocols.tensors import file_of, from_numbers

BASE64: Final = "b64"
WRAPPED: Final = ("image", "image_bytes")
"""Names that an instance may give its only input; the second is TensorFlow Serving's."""

_CHANNELS: Final = frozenset({1, 3})


def files_of(instances: Sequence[Any], max_rows: int) -> tuple[Upload, ...]:
    """Read instances that are files.

    Raises
    ------
    InvalidInputError
        One is something else; the sentence gives its index.
    TooLargeError
        There are more than ``max_rows``.
    """
    _check_rows(instances, max_rows)
    return tuple(_file(index, each) for index, each in enumerate(instances))


def pictures_of(instances: Sequence[Any], max_rows: int) -> Pictures:
    """Read instances: all files, or all numbers in [0, 1] with the channels first or last.

    Raises
    ------
    InvalidInputError, TooLargeError
        As for `files_of`; or numbers are out of range or of another shape.
    """
    _check_rows(instances, max_rows)
    if not isinstance(instances[0], list):
        return files_of(instances, max_rows)
    values = from_numbers(instances, np.dtype("<f4"))
    if values.ndim != 4 or not _CHANNELS & {values.shape[1], values.shape[3]}:  # noqa: PLR2004 -- axes
        raise InvalidInputError(
            "instances that are numbers must have the shape (c, h, w) or (h, w, c) each, "
            f"got {values.shape[1:]}"
        )
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise InvalidInputError(
            f"instances that are numbers must lie from 0 to 1, got {values.min():g} to "
            f"{values.max():g}"
        )
    if values.shape[1] not in _CHANNELS:
        values = np.moveaxis(values, 3, 1)
    return torch.from_numpy(np.ascontiguousarray(values))


def _check_rows(instances: Sequence[Any], max_rows: int) -> None:
    if len(instances) > max_rows:
        raise TooLargeError(
            f"instances must be at most {max_rows} pictures here, got {len(instances)}"
        )


def _file(index: int, instance: object) -> Upload:
    inner = instance
    if isinstance(inner, dict) and len(inner) == 1 and next(iter(inner)) in WRAPPED:
        inner = next(iter(inner.values()))
    if not isinstance(inner, dict) or set(inner) != {BASE64}:
        raise InvalidInputError(
            f'instance {index} must be a file, {{"b64": TEXT}} or {{"image": {{"b64": TEXT}}}}, '
            f"got {instance!r:.80}"
        )
    try:
        return Upload(data=file_of(inner[BASE64]), name=f"instance {index}")
    except InvalidInputError as error:
        raise InvalidInputError(f"instance {index}: {error}") from error
