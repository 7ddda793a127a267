"""`Keys`: random numbers that depend on what they are for, never on when they are drawn."""

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Keys:
    """A splittable, counter-based source of random numbers.

    A key is a path of names; equal paths give equal numbers in any process, in any order, whatever
    else was drawn. Split with `child`, and take numbers from a key once.

    References
    ----------
    Salmon et al., *Parallel Random Numbers: As Easy as 1, 2, 3*, SC 2011 (Philox).
    """

    digest: bytes

    @classmethod
    def root(cls, seed: int, image_id: str) -> "Keys":
        """Start from a job's seed and an image's content digest."""
        return cls(hashlib.blake2b(f"{seed}/{image_id}".encode(), digest_size=16).digest())

    def child(self, *path: str | int) -> "Keys":
        """Go to the key of one piece of the work, named by ``path``."""
        name = "/".join(map(str, path)).encode()
        return Keys(hashlib.blake2b(name, digest_size=16, key=self.digest).digest())

    def generator(self) -> np.random.Generator:
        """Return numpy's generator for this key, for draws of many numbers."""
        return np.random.Generator(np.random.Philox(key=int.from_bytes(self.digest, "little")))

    def below(self, *bounds: int) -> tuple[int, ...]:
        """Draw an integer from 0 to bound - 1 per bound (up to 2), without a generator's set-up."""
        words = (self.digest[:8], self.digest[8:])
        return tuple(
            int.from_bytes(word, "little") * bound >> 64
            for word, bound in zip(words, bounds, strict=False)
        )
