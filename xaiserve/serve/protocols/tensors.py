"""Tensors of the Open Inference Protocol: from a request's body to pictures, from scores to bytes.

With the extension for binary data a body is JSON, of the length that a header states, and then the
bytes of every tensor that the JSON gives a ``binary_data_size`` instead of ``data``.
"""

import base64
import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, Final, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from xaiserve.errors import InvalidInputError, TooLargeError
from xaiserve.serve.incoming.requests import Pictures, Upload
from xaiserve.serve.protocols.oip_bodies import InputBody
from xaiserve.types import Scores

INPUT: Final = "image"
OUTPUT: Final = "scores"
JSON_LENGTH: Final = "inference-header-content-length"

_DTYPES: Final[Mapping[str, "np.dtype[Any]"]] = {
    "FP32": np.dtype("<f4"),
    "UINT8": np.dtype("u1"),
}
_AXES: Final = {"FP32": "(n, c, h, w)", "UINT8": "(n, h, w, c)"}
_LENGTH: Final = struct.Struct("<I")

T = TypeVar("T")


def split(body: bytes, stated: str | None) -> tuple[bytes, bytes]:
    """Part a body into its JSON and the binary data behind that.

    Raises
    ------
    InvalidInputError
        The length that the header states is none, or beyond the body.
    """
    if stated is None:
        return body, b""
    length = int(stated) if stated.isascii() and stated.isdecimal() and len(stated) < 20 else -1  # noqa: PLR2004 -- digits
    if not 0 <= length <= len(body):
        raise InvalidInputError(
            f"Inference-Header-Content-Length must be from 0 to {len(body)}, the length of the "
            f"body, got {stated[:40]!r}"
        )
    return body[:length], body[length:]


def pictures_of(sent: InputBody, binary: bytes, max_rows: int) -> Pictures:
    """Read the tensor ``image``; the model's size is not known here and not checked.

    Raises
    ------
    InvalidInputError
        Name, shape or data are wrong, or there is more or less data than the shape needs.
    TooLargeError
        There are more pictures than ``max_rows``.
    """
    if sent.name != INPUT:
        raise InvalidInputError(f"the input must be named {INPUT!r}, got {sent.name!r}")
    size = sent.parameters.get("binary_data_size")
    if (sent.data is None) == (size is None):
        raise InvalidInputError(
            f"{INPUT} must have either data or the parameter binary_data_size, and the header "
            "Inference-Header-Content-Length with the latter"
        )
    if len(binary) != (size or 0):
        raise InvalidInputError(
            f"binary data of {size or 0} bytes must follow the JSON, got {len(binary)} bytes"
        )
    _check_rows(sent, max_rows)
    if sent.datatype == "BYTES":
        return _files(sent, binary)
    if len(sent.shape) != 4:  # noqa: PLR2004 -- axes
        raise InvalidInputError(
            f"shape of {INPUT} must be {_AXES[sent.datatype]} for {sent.datatype}, got {sent.shape}"
        )
    dtype = _DTYPES[sent.datatype]
    values = from_numbers(sent.data, dtype) if sent.data is not None else _raw(binary, dtype)
    _check_count(sent, values.size)
    # A copy where it is not ours: numpy's view of bytes cannot be written to.
    return torch.from_numpy(values.reshape(sent.shape).astype(dtype.newbyteorder("="), copy=True))


def _check_rows(sent: InputBody, max_rows: int) -> None:
    rows = sent.shape[0]
    if rows > max_rows:
        raise TooLargeError(f"{INPUT} must have at most {max_rows} pictures, got {rows}")
    if rows < 1:
        raise InvalidInputError(f"shape of {INPUT} must begin with 1 or more, got {sent.shape}")


def _check_count(sent: InputBody, count: int) -> None:
    wanted = math.prod(sent.shape)
    if count != wanted:
        raise InvalidInputError(
            f"{INPUT} of shape {sent.shape} must have {wanted} values, got {count}"
        )


def from_numbers(data: Sequence[Any], dtype: "np.dtype[Any]") -> NDArray[Any]:
    """Read JSON's numbers, flat or nested.

    Raises
    ------
    InvalidInputError
        Something else is among them, the nesting is ragged, or a number is out of range.
    """
    _check_numbers(data)
    try:
        values = np.asarray(data)
    except (ValueError, OverflowError, RecursionError) as error:
        raise InvalidInputError(f"data must be numbers in rows of equal length: {error}") from error
    if values.dtype.kind not in "iuf":
        raise InvalidInputError("data must be numbers of at most 64 bits")
    bounds = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    if values.size and not (bounds.min <= values.min() and values.max() <= bounds.max):
        raise InvalidInputError(
            f"data must be numbers from {bounds.min} to {bounds.max}, "
            f"got {values.min()} to {values.max()}"
        )
    cast = values.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(cast, values):
        raise InvalidInputError("data must be whole numbers")
    return cast


def _check_numbers(data: Sequence[Any]) -> None:
    """Refuse what is no number before numpy would give each number the room of the longest text."""
    level: Sequence[Any] = [data]
    while level:
        parts = list(chain.from_iterable(level))
        kinds = set(map(type, parts))
        if kinds - {int, float, list}:
            other = next(part for part in parts if type(part) not in {int, float, list})
            raise InvalidInputError(f"data must be numbers, got {other!r:.80}")
        level = [part for part in parts if type(part) is list] if list in kinds else []


def _raw(binary: bytes, dtype: "np.dtype[Any]") -> NDArray[Any]:
    if len(binary) % dtype.itemsize:
        raise InvalidInputError(
            f"binary data must be whole values of {dtype.itemsize} bytes, got {len(binary)} bytes"
        )
    return np.frombuffer(binary, dtype)


def _files(sent: InputBody, binary: bytes) -> tuple[Upload, ...]:
    found = _unpacked(binary) if sent.data is None else [file_of(text) for text in _flat(sent.data)]
    _check_count(sent, len(found))
    return tuple(Upload(data=data) for data in found)


def _flat(data: Sequence[T] | Sequence[Sequence[T]]) -> list[Any]:  # Any: JSON
    """Undo the nesting of a shape (n, 1)."""
    return [part for each in data for part in (each if isinstance(each, list) else [each])]


def file_of(text: object) -> bytes:
    """Decode a file in base64.

    Raises
    ------
    InvalidInputError
        It is no text, or no base64.
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"a file must be a text in base64, got {text!r:.80}")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError(f"a file must be in base64: {error}") from error


def _unpacked(binary: bytes) -> list[bytes]:
    """Part binary BYTES: before each element stands its length."""
    found: list[bytes] = []
    at = 0
    while at < len(binary):
        start = at + _LENGTH.size
        if start > len(binary):
            raise InvalidInputError("binary data of BYTES ends in the middle of a length")
        at = start + _LENGTH.unpack_from(binary, at)[0]
        if at > len(binary):
            raise InvalidInputError(
                f"binary data of BYTES must have {at - start} bytes for element {len(found)}, "
                f"got {len(binary) - start}"
            )
        found.append(binary[start:at])
    return found


def packed(texts: Sequence[str]) -> bytes:
    """Write texts as binary BYTES."""
    parts = [text.encode() for text in texts]
    return b"".join(_LENGTH.pack(len(part)) + part for part in parts)


def ranked(scores: Scores, labels: Sequence[str], count: int) -> list[str]:
    """Write the first classes of each row as ``score:index:label``, best first (Triton's form)."""
    values, indices = scores.topk(min(count, scores.shape[1]), dim=1)
    return [
        f"{value:.6f}:{index}:{labels[index]}"
        for row, places in zip(values.tolist(), indices.tolist(), strict=True)
        for value, index in zip(row, places, strict=True)
    ]
