"""What a store of bytes can do, whatever it is made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from xaiserve.errors import ArtifactNotFoundError, InvalidInputError, StoreUnavailableError


class TransientStoreError(StoreUnavailableError):
    """The same request may succeed a moment later: a lost connection, a throttled or ill server."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One object as a list describes it.

    Parameters
    ----------
    modified
        When it was last written, in seconds since 1970, by the store's clock.
    """

    key: str
    size: int
    modified: float


@runtime_checkable
class ObjectStore(Protocol):
    """Bytes under keys.

    A key is relative, of parts joined by ``/``; see `check_key`. A reader sees an object as one
    write left it, never a part. Every method raises `StoreUnavailableError` when the store cannot
    be reached or refuses, and `NotFoundError` when its bucket does not exist.
    """

    @property
    def uri(self) -> str:
        """Where key ``""`` would lie, for messages and for opening the store elsewhere."""
        ...

    def read(self, key: str) -> bytes:
        """Return the whole object; raise `ArtifactNotFoundError` when there is none."""
        ...

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return up to ``length`` bytes (at least 1) from ``start``, which must lie inside."""
        ...

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        """Write the whole object.

        With ``create_only`` an object that is already there stays as it is and `ConflictError` is
        raised; of several writers at once, one succeeds.
        """
        ...

    def remove(self, key: str) -> None:
        """Remove the object; raise `ArtifactNotFoundError` when there is none."""
        ...

    def list(self, prefix: str = "") -> Sequence[str]:
        """Return all keys that start with the text ``prefix``, sorted; none is no error."""
        ...

    def describe(self, prefix: str = "") -> Sequence[Stored]:
        """Return what `list` does, with size and age."""
        ...

    def size(self, key: str) -> int:
        """Return the object's bytes; raise `ArtifactNotFoundError` when there is none."""
        ...

    def tidy(self, prefix: str) -> None:
        """Remove what is left of ``prefix``, such as ``a/b/``, where no object is below it.

        Stores without folders have nothing to remove.
        """
        ...


def check_key(key: str) -> str:
    """Return ``key``, or raise `InvalidInputError` if it could leave the store or is ambiguous."""
    if not key or "\\" in key or "\0" in key or {"", ".", ".."} & set(key.split("/")):
        raise InvalidInputError(
            f"key must be names joined by '/', none of them empty, '.' or '..', got {key!r}"
        )
    return key


def exists(store: ObjectStore, key: str) -> bool:
    """Say whether the object is there."""
    try:
        store.size(key)
    except ArtifactNotFoundError:
        return False
    return True


def read_if_there(store: ObjectStore, key: str) -> bytes | None:
    """Return the object, or None when there is none."""
    try:
        return store.read(key)
    except ArtifactNotFoundError:
        return None
