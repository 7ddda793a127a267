"""Sets of ids that stay small: 16 bytes each, sorted, instead of Python's strings and sets."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

BYTES: Final = 16
KIND: Final = f"S{BYTES}"

Keys = npt.NDArray[Any]  # Any: a type checker knows no width of bytes
"""128-bit keys of ids, (n,); of a thousand million ids, two are equal once in 10^20 times."""


def key_of(text: str) -> bytes:
    """Return the key of one id."""
    return hashlib.blake2b(text.encode(), digest_size=BYTES).digest()


def keys_of(texts: Iterable[str]) -> Keys:
    """Return the keys of ids, in order."""
    return as_keys(b"".join(map(key_of, texts)))


def as_keys(joined: bytes | bytearray) -> Keys:
    """Take keys that stand one after the other in ``joined``."""
    return np.array(np.frombuffer(joined, KIND))


@dataclass(frozen=True, slots=True, eq=False)
class IdSet:
    """A set of ids; ``keys``, of one kind, are sorted and distinct (see `of`)."""

    keys: Keys

    @classmethod
    def of(cls, keys: Keys) -> "IdSet":
        """Collect keys in any order, however often each comes."""
        return cls(np.unique(keys))

    @classmethod
    def of_texts(cls, texts: Iterable[str]) -> "IdSet":
        """Collect ids."""
        return cls.of(keys_of(texts))

    def __len__(self) -> int:
        return len(self.keys)

    def holds(self, keys: Keys) -> npt.NDArray[np.bool_]:
        """Say for each of ``keys`` whether it is in the set."""
        if not len(self.keys):
            return np.zeros(len(keys), np.bool_)
        places = np.searchsorted(self.keys, keys).clip(max=len(self.keys) - 1)
        return np.asarray(self.keys[places] == keys)

    def without(self, other: "IdSet") -> "IdSet":
        """Return what is here and not in ``other``."""
        return IdSet(self.keys[~other.holds(self.keys)])

    def both(self, other: "IdSet") -> "IdSet":
        """Return what is here and in ``other``."""
        return IdSet(self.keys[other.holds(self.keys)])
