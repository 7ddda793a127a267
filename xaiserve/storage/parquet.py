"""Parquet in and out of a store of bytes, reading only the columns that are asked for."""

import io
from collections.abc import Sequence
from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq
from typing_extensions import Buffer, override

from xaiserve.errors import InvalidInputError
from xaiserve.storage.objects import ObjectStore


def to_parquet(table: pa.Table) -> bytes:
    """Encode a table, with its schema's metadata, as one Parquet file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def column_names(store: ObjectStore, key: str) -> list[str]:
    """Return the names of the columns of a Parquet file, in order."""
    return cast("list[str]", _opened(store, key).schema_arrow.names)


def read_parquet(store: ObjectStore, key: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a Parquet file, or some of its columns; those that it lacks are left out."""
    file = _opened(store, key)
    wanted = None if columns is None else [c for c in file.schema_arrow.names if c in columns]
    # On this thread: Arrow's own may still let go of Python buffers while the interpreter ends,
    # which aborts the process.
    return file.read(columns=wanted, use_threads=False)


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    """Put tables under each other; a column that one lacks is null there.

    No tables make an empty one.

    Raises
    ------
    InvalidInputError
        A column has different types in two tables.
    """
    if not tables:
        return pa.table({})
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise InvalidInputError(
            f"methods store a column of one name in different ways, read one at a time: {error}"
        ) from error


def _opened(store: ObjectStore, key: str) -> pq.ParquetFile:
    return pq.ParquetFile(pa.PythonFile(_ObjectFile(store, key), mode="r"))


class _ObjectFile(io.RawIOBase):
    """An object as a file that can be searched, so that unread columns are not transferred."""

    def __init__(self, store: ObjectStore, key: str) -> None:
        self._store, self._key = store, key
        self._size = store.size(key)
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
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = origin + offset
        return self._position

    @override
    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        length = min(len(view), self._size - self._position)
        if length > 0:
            view[:length] = self._store.read_range(self._key, self._position, length)
            self._position += length
        return max(length, 0)
