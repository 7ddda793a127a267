"""How the rows of a batch travel: described, never as pixels, and what they share only once.

What many batches have in common, the pictures of a scene, segment labels and rankings, is sent with
the first batch that needs it and kept by the worker under a number. A worker that has dropped it,
or is new, says so and gets it again. (`Pixels` and `Blend` are pixels by nature, and are sent.)
"""

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import count
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xaiserve.perturb.query import Leaf, Scene

Array = NDArray[Any]  # Any: of every type that tensors have

KEPT_FIELDS: Final = frozenset({"scene", "labels", "rank"})
"""Fields of queries that many batches share."""

KEPT_BYTES: Final = 256 << 20
"""What a worker keeps: some two hundred scenes of 224 x 224 pixels."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Stands for a thing that the worker keeps."""

    number: int


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """One leaf: its class, and its fields as arrays, plain values and `Kept`."""

    kind: type[Leaf]
    values: Mapping[str, Array | Kept | bool | int]


@dataclass(frozen=True, slots=True, eq=False)
class Parcel:
    """One batch of so many rows, with the things that the worker is not known to keep.

    A scene is two arrays.
    """

    rows: int
    leaves: tuple[Described, ...]
    things: Mapping[int, tuple[Array, ...]]

    @property
    def numbers(self) -> frozenset[int]:
        """What its leaves refer to."""
        values = [value for leaf in self.leaves for value in leaf.values.values()]
        return frozenset(value.number for value in values if isinstance(value, Kept))


class Sender:
    """Packs batches for one worker, and remembers what that was sent; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count()
        self._sent: dict[int, tuple[weakref.ref[Any], int]] = {}

    def forget(self) -> None:
        """Start anew: the worker is another one."""
        with self._lock:
            self._sent.clear()

    def pack(self, leaves: Sequence[Leaf], *, whole: bool = False) -> Parcel:
        """Describe a batch; ``whole`` sends along all that it refers to."""
        things: dict[int, tuple[Array, ...]] = {}
        with self._lock:
            described = tuple(self._describe(leaf, things, whole=whole) for leaf in leaves)
        return Parcel(sum(map(len, leaves)), described, things)

    def _describe(
        self, leaf: Leaf, things: dict[int, tuple[Array, ...]], *, whole: bool
    ) -> Described:
        values: dict[str, Array | Kept | bool | int] = {}
        for field in fields(leaf):
            value = getattr(leaf, field.name)
            if field.name in KEPT_FIELDS:
                number, new = self._number(value)
                if new or whole:
                    things[number] = _arrays(value)
                value = Kept(number)
            values[field.name] = value.numpy() if isinstance(value, Tensor) else value
        return Described(type(leaf), values)

    def _number(self, thing: Scene | Tensor) -> tuple[int, bool]:
        """Find the number of a thing, and whether it is new. Things are told apart by identity."""
        key = id(thing)
        if key in self._sent:
            return self._sent[key][1], False
        number = next(self._numbers)
        # An id is used again only after its thing, and so this entry, is gone.
        gone = weakref.ref(thing, lambda _: self._sent.pop(key, None))
        self._sent[key] = (gone, number)
        return number, True


def _arrays(thing: Scene | Tensor) -> tuple[Array, ...]:
    parts = (thing.image, thing.fill) if isinstance(thing, Scene) else (thing,)
    return tuple(part.numpy() for part in parts)


class Shelf:
    """What a worker keeps, the longest unused going first; used by one thread.

    Parameters
    ----------
    kept_bytes
        Most bytes of arrays; what the batch at hand refers to is kept whatever its size.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept_bytes = kept_bytes
        self._things: OrderedDict[int, Scene | Tensor] = OrderedDict()

    def missing(self, parcel: Parcel) -> frozenset[int]:
        """Put a parcel's things on the shelf, and say what it refers to that is not there."""
        for number, arrays in parcel.things.items():
            self._things[number] = _thing(arrays)
        needed = parcel.numbers
        missing = frozenset(needed - self._things.keys())
        for number in needed - missing:
            self._things.move_to_end(number)
        self._drop(needed)
        return missing

    def unpack(self, parcel: Parcel) -> Iterator[Leaf]:
        """Make the leaves of a parcel of which nothing is missing."""
        for leaf in parcel.leaves:
            yield leaf.kind(**{name: self._value(value) for name, value in leaf.values.items()})

    def _value(self, value: Array | Kept | bool | int) -> Any:  # Any: a field of any leaf
        if isinstance(value, Kept):
            return self._things[value.number]
        return _tensor(value) if isinstance(value, np.ndarray) else value

    def _drop(self, needed: frozenset[int]) -> None:
        held = sum(map(_size, self._things.values()))
        for number in list(self._things):
            if held <= self._kept_bytes or number in needed:
                return
            held -= _size(self._things.pop(number))


def _thing(arrays: tuple[Array, ...]) -> Scene | Tensor:
    # Copied: arrays that have travelled may lie in memory that others use.
    tensors = [_tensor(array.copy()) for array in arrays]
    return Scene(*tensors) if len(tensors) > 1 else tensors[0]


def _tensor(array: Array) -> Tensor:
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _size(thing: Scene | Tensor) -> int:
    return sum(array.nbytes for array in _arrays(thing))
