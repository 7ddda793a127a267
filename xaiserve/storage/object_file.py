"""An object of a store as a file, of which only what is asked for is transferred."""

import io
from typing import Final

from typing_extensions import Buffer, override

from xaiserve.storage.objects import ObjectStore

_AHEAD_BYTES: Final = 1 << 20


def buffered(store: ObjectStore, key: str) -> io.BufferedReader:
    """Open an object for reading from front to back, a mebibyte per request.

    Raises
    ------
    ArtifactNotFoundError
        There is none.
    """
    return io.BufferedReader(ObjectFile(store, key), _AHEAD_BYTES)


class ObjectFile(io.RawIOBase):
    """An object as a file that can be searched; ``size`` in bytes."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store, self._key = store, key
        self.size = store.size(key)
        self._position = 0

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def tell(self) -> int:
        return self._position

    @override
    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = origin + offset
        return self._position

    @override
    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        length = min(len(view), self.size - self._position)
        if length > 0:
            view[:length] = self._store.read_range(self._key, self._position, length)
            self._position += length
        return max(length, 0)
