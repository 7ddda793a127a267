"""How one value is stored in Arrow, derived from its type annotation."""

import dataclasses
import datetime as dt
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from jaxtyping import AbstractArray

from xaiserve.storage.rle import Rle, mask_to_rle, rle_to_mask


@dataclass(frozen=True, slots=True)
class Codec:
    """An Arrow type, and the way of one value into it and back.

    Parameters
    ----------
    arrow
        The Arrow type.
    encode, decode
        From the Python value to what `pyarrow` takes for ``arrow``, and back.
    suffix
        What a column of it adds to the name of its field.
    """

    arrow: pa.DataType
    encode: Callable[[Any], Any]  # Any: a codec per type, kept in one table
    decode: Callable[[Any], Any]
    suffix: str = ""


Columns = Mapping[str, tuple[str, Codec]]
"""Per field the name of its column and its codec."""


def _same(value: Any) -> Any:
    return value


_SCALARS: Final = {
    bool: Codec(pa.bool_(), _same, _same),
    int: Codec(pa.int64(), _same, _same),
    float: Codec(pa.float64(), _same, _same),
    str: Codec(pa.string(), _same, _same),
    bytes: Codec(pa.binary(), _same, _same),
    dt.datetime: Codec(pa.timestamp("us", "UTC"), _same, _same),
}

_FLOAT16_MAX: Final = 65504.0
_FLOAT16_FINE: Final = 2.0**-4
"""A map whose largest value is smaller loses digits to float16's spacing near 0."""


@lru_cache(maxsize=512)
def codec_of(hint: Any) -> Codec:  # Any: an annotation is a type, a union, an alias, ...
    """Find how a value with this annotation is stored.

    Parameters
    ----------
    hint
        ``bool``, ``int``, ``float``, ``str``, ``bytes``, ``datetime``, a ``Literal`` of one kind,
        an array with a jaxtyping shape, a dataclass, ``tuple[X, ...]`` or a tuple of equal kinds
        of any of those, or any of those ``| None``.

    Raises
    ------
    TypeError
        Anything else.
    """
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin = typing.get_origin(hint)
    if origin in {types.UnionType, typing.Union}:
        return _optional(hint)
    if origin is Literal:
        return _literal(hint)
    if origin is tuple:
        return _tuple(hint)
    if isinstance(hint, type) and issubclass(hint, AbstractArray):
        return _array(hint)
    if dataclasses.is_dataclass(hint):
        return _struct(cast("type", hint))
    raise TypeError(f"no way to store {hint!r}")


def columns_of(owner: type) -> Columns:
    """Return per field of a dataclass its column's name and its codec.

    Raises
    ------
    TypeError
        A field has a type that cannot be stored; the message names it.
    """
    hashable: Any = owner  # Any: to a type checker a type is not evidently hashable
    return _columns(hashable)


@lru_cache(maxsize=512)
def _columns(owner: type) -> Columns:
    hints = typing.get_type_hints(owner)
    found = {}
    for field in dataclasses.fields(owner):
        try:
            codec = codec_of(hints[field.name])
        except TypeError as error:
            raise TypeError(f"{owner.__name__}.{field.name}: {error}") from error
        found[field.name] = (field.name + codec.suffix, codec)
    return found


def _optional(hint: Any) -> Codec:
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    if len(members) != 1:
        raise TypeError(f"no way to store {hint!r}: it is of several kinds")
    inner = codec_of(members[0])
    return Codec(
        inner.arrow,
        lambda value: None if value is None else inner.encode(value),
        lambda value: None if value is None else inner.decode(value),
        inner.suffix,
    )


def _literal(hint: Any) -> Codec:
    kinds: set[Any] = {type(choice) for choice in typing.get_args(hint)}
    if len(kinds) != 1:
        raise TypeError(f"no way to store {hint!r}: it is of several kinds")
    return codec_of(kinds.pop())


def _tuple(hint: Any) -> Codec:
    members = {member for member in typing.get_args(hint) if member is not Ellipsis}
    if len(members) != 1:
        raise TypeError(f"no way to store {hint!r}: it is of several kinds")
    inner = codec_of(members.pop())
    return Codec(
        pa.list_(inner.arrow),
        lambda values: [inner.encode(value) for value in values],
        lambda values: tuple(inner.decode(value) for value in values),
        inner.suffix,
    )


def _struct(owner: type) -> Codec:
    columns = columns_of(owner)

    def encode(value: Any) -> dict[str, Any]:
        return {
            column: codec.encode(getattr(value, name)) for name, (column, codec) in columns.items()
        }

    def decode(stored: dict[str, Any]) -> Any:
        return owner(
            **{name: codec.decode(stored[column]) for name, (column, codec) in columns.items()}
        )

    arrow = pa.struct([pa.field(column, codec.arrow) for column, codec in columns.values()])
    return Codec(arrow, encode, decode)


def _array(hint: type[AbstractArray]) -> Codec:
    flat = len(hint.dim_str.split()) == 2  # noqa: PLR2004
    if flat and "bool" in hint.dtypes:
        return _REGION
    if flat and "float32" in hint.dtypes:
        return _SALIENCY
    return _EXACT


def _encode_region(mask: torch.Tensor) -> Rle:
    return mask_to_rle(mask.cpu())


_REGION: Final = Codec(
    pa.struct([pa.field("size", pa.list_(pa.int32())), pa.field("counts", pa.string())]),
    _encode_region,
    rle_to_mask,
    suffix="_rle",
)


def _encode_saliency(saliency: torch.Tensor) -> dict[str, Any]:
    values = saliency.detach().cpu().numpy()
    scale = _float16_scale(values)
    return {
        "height": values.shape[0],
        "width": values.shape[1],
        "data": _packed((values / np.float32(scale)).astype("<f2")),
        "scale": scale,
    }


def _float16_scale(values: npt.NDArray[np.float32]) -> float:
    """Return 1, or the power of two that brings values too large or too small for float16 near 1.

    A power of two changes no digit.
    """
    finite = np.abs(values[np.isfinite(values)])
    peak = float(finite.max(initial=0.0))
    if peak == 0 or _FLOAT16_FINE <= peak <= _FLOAT16_MAX:
        return 1.0
    return 2.0 ** max(math.floor(math.log2(peak)), -126)  # not below float32's normal numbers


def _decode_saliency(stored: dict[str, Any]) -> torch.Tensor:
    shape = (stored["height"], stored["width"])
    values = _unpacked(stored["data"], "<f2", shape).astype(np.float32)
    return torch.from_numpy(values * np.float32(stored["scale"]))


_SALIENCY: Final = Codec(
    pa.struct(
        [
            pa.field("height", pa.int32()),
            pa.field("width", pa.int32()),
            pa.field("data", pa.binary()),  # zstd frame of float16, little endian, row by row
            pa.field("scale", pa.float64()),  # values are data times scale
        ]
    ),
    _encode_saliency,
    _decode_saliency,
)


def _encode_exact(array: torch.Tensor) -> dict[str, Any]:
    values = array.detach().cpu().numpy()
    little = values.astype(values.dtype.newbyteorder("<"))
    return {"shape": list(values.shape), "dtype": little.dtype.str, "data": _packed(little)}


def _decode_exact(stored: dict[str, Any]) -> torch.Tensor:
    values = _unpacked(stored["data"], stored["dtype"], stored["shape"])
    return torch.from_numpy(values.astype(values.dtype.newbyteorder("=")))


_EXACT: Final = Codec(
    pa.struct(
        [
            pa.field("shape", pa.list_(pa.int32())),
            pa.field("dtype", pa.string()),  # numpy's spelling, such as <i8
            pa.field("data", pa.binary()),  # zstd frame, little endian, row by row
        ]
    ),
    _encode_exact,
    _decode_exact,
)


def _packed(values: npt.NDArray[Any]) -> bytes:
    return cast("bytes", pa.compress(values.tobytes(), codec="zstd", asbytes=True))


def _unpacked(data: bytes, dtype: str, shape: Sequence[int]) -> npt.NDArray[Any]:
    bytes_in_all = math.prod(shape) * np.dtype(dtype).itemsize
    flat = pa.decompress(data, decompressed_size=bytes_in_all, codec="zstd", asbytes=True)
    return np.frombuffer(flat, dtype).reshape(tuple(shape))
