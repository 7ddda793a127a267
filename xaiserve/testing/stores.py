"""A store that tells what is asked of it."""

from typing import Any

from xaiserve.storage.objects import ObjectStore


class Counting:
    """A store that adds up how much is read."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.transferred = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        data = self._store.read_range(key, start, length)
        self.transferred += len(data)
        return data
