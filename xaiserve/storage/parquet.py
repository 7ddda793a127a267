"""Parquet in and out of a store of bytes, reading only the columns that are asked for."""

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xaiserve.errors import InvalidInputError
from xaiserve.storage.object_file import ObjectFile
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


def read_with_size(store: ObjectStore, key: str, columns: Sequence[str]) -> tuple[pa.Table, int]:
    """Read some columns, and say how many bytes the file has."""
    raw = ObjectFile(store, key)
    file = pq.ParquetFile(pa.PythonFile(raw, mode="r"))
    return file.read(columns=list(columns), use_threads=False), raw.size


def row_groups(
    store: ObjectStore, key: str, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Read a Parquet file, or some of its columns, one row group at a time."""
    file = _opened(store, key)
    wanted = None if columns is None else [c for c in file.schema_arrow.names if c in columns]
    for number in range(file.num_row_groups):
        yield file.read_row_group(number, columns=wanted, use_threads=False)


def rows_with(
    store: ObjectStore, key: str, column: str, values: Collection[str]
) -> Iterator[pa.Table]:
    """Read the rows with one of ``values`` in a column, a row group at a time.

    Of row groups without such a row nothing but that column is read.
    """
    file = _opened(store, key)
    for number in range(file.num_row_groups):
        if len(having(file.read_row_group(number, [column], use_threads=False), column, values)):
            yield having(file.read_row_group(number, use_threads=False), column, values)


def having(table: pa.Table, column: str, values: Collection[str]) -> pa.Table:
    """Return the rows with one of ``values`` in a column."""
    return table.filter(pc.is_in(table[column], value_set=pa.array(values, pa.string())))


def schema_of_file(store: ObjectStore, key: str) -> pa.Schema:
    """Read the schema of a Parquet file, with its metadata."""
    return _opened(store, key).schema_arrow


def encoded(tables: Iterable[pa.Table], schema: pa.Schema) -> bytes:
    """Encode tables as one Parquet file, a row group each; columns that one lacks are null."""
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(_fitted(table, schema), row_group_size=max(1, len(table)))
    return buffer.getvalue()


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    empty = schema.empty_table()
    return pa.concat_tables(
        [empty, table.replace_schema_metadata(schema.metadata)], promote_options="default"
    ).select(schema.names)


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
    return pq.ParquetFile(pa.PythonFile(ObjectFile(store, key), mode="r"))
