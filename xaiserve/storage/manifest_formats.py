"""The records of a manifest, one after the other: a million of them are never held at once."""

import csv
import io
import json
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import ijson
import pyarrow as pa
import pyarrow.parquet as pq

Record = Mapping[str, Any]
"""Columns by name, as the format has them."""  # hence Any

_BATCH: Final = 4096


def is_manifest(address: str) -> bool:
    """Say whether an address names a manifest rather than pictures."""
    return _ending(address) in _READERS


def records_in(address: str, file: io.BufferedReader) -> Iterator[Record]:
    """Read the records of the manifest at ``address`` from ``file``, in order.

    Raises
    ------
    ValueError
        The file is not of the format that its name says.
    """
    try:
        yield from _READERS[_ending(address)](file)
    except (csv.Error, ijson.JSONError, OSError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def first_byte(file: io.BufferedReader) -> bytes:
    """Go past a byte order mark, and look at the first byte that is no white space."""
    if file.peek(len(BOM_UTF8)).startswith(BOM_UTF8):
        file.read(len(BOM_UTF8))
    return file.peek(1 << 16).lstrip()[:1]


def _ending(address: str) -> str:
    return PurePosixPath(address).suffix.lower()


def _read_csv(file: io.BufferedReader) -> Iterator[Record]:
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    lines = csv.reader(text, skipinitialspace=True)
    header = [name.strip() for name in next(lines, ())]
    for cells in filter(None, lines):
        if any(cells[len(header) :]):
            raise ValueError(
                f"line {lines.line_num} has {len(cells)} cells and the header {len(header)}; "
                "put a cell that holds a comma in quotes"
            )
        yield dict(zip(header, cells, strict=False))


def _read_json(file: io.BufferedReader) -> Iterator[Record]:
    if first_byte(file) != b"[":
        raise ValueError("it must be a list of objects, one per image")
    yield from map(_object, ijson.items(file, "item", use_float=True))


def _read_jsonl(file: io.BufferedReader) -> Iterator[Record]:
    yield from (_object(json.loads(line)) for line in file if line.strip())


def _object(found: object) -> Record:
    if not isinstance(found, dict):
        raise ValueError("it must be a list of objects, one per image")  # noqa: TRY004 -- of the file
    return found


def _read_parquet(file: io.BufferedReader) -> Iterator[Record]:
    parquet = pq.ParquetFile(pa.PythonFile(file, mode="r"))
    for batch in parquet.iter_batches(_BATCH, use_threads=False):
        yield from batch.to_pylist()


_READERS: Final[Mapping[str, Callable[[io.BufferedReader], Iterator[Record]]]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
