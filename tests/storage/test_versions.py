"""Rows of other versions: read where they are known, refused in a sentence where they are not."""

import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from xaiserve.errors import InvalidInputError
from xaiserve.storage.dataset import SUCCESS, read_results, read_rows
from xaiserve.storage.ids import IdSet
from xaiserve.storage.local import LocalStore
from xaiserve.storage.parquet import to_parquet
from xaiserve.storage.records import RowFormat
from xaiserve.storage.results import open_results
from xaiserve.storage.versions import JOB, SCHEMA_VERSION
from xaiserve.testing.rows import CONFIGURATION, HITS, Hit, Place, hits, task


@dataclass(frozen=True)
class HitMore(Hit):
    sure: float


MORE = RowFormat(HitMore, Place)


def stated(store: LocalStore, key: str, version: int) -> None:
    """Let a file of an output say that it is of a version."""
    store.write(key, json.dumps(json.loads(store.read(key)) | {"schema_version": version}).encode())


def as_version_2(store: LocalStore) -> None:
    """Turn an output into one that version 2 began."""
    stated(store, JOB, 2)
    for key in store.list("_parts/"):
        table = pq.read_table(Path(store.uri, key), partitioning=None)
        metadata = table.schema.metadata | {b"xaiserve.schema_version": b"2"}
        store.write(key, to_parquet(table.replace_schema_metadata(metadata)))


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("version", [1, SCHEMA_VERSION + 1])
def test_rows_of_an_unknown_version_are_refused(
    tmp_path: Path, version: int, *, finished: bool
) -> None:
    store = LocalStore(tmp_path)
    results = open_results(store, CONFIGURATION)
    results.write_part(hits("a"), HITS)
    if finished:
        results.finish(IdSet.of_texts(["a"]))
    stated(store, SUCCESS if finished else JOB, version)
    with pytest.raises(InvalidInputError, match=f"schema version {version}, and this .* 2 to 3"):
        read_rows(store)


def test_an_output_of_an_unknown_version_is_not_gone_on_with(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    open_results(store, CONFIGURATION)
    stated(store, JOB, SCHEMA_VERSION + 1)
    with pytest.raises(InvalidInputError, match="use the xaiserve that wrote them"):
        open_results(store, CONFIGURATION)


def test_a_job_that_version_2_began_is_finished_with_nulls_in_its_rows(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    open_results(store, CONFIGURATION).write_part(hits("a"), HITS)
    as_version_2(store)
    results = open_results(store, CONFIGURATION)
    results.write_part([(task("b"), HitMore(hit=True, sure=0.5))], MORE)
    manifest = results.finish(IdSet.of_texts(["a", "b"]))
    assert manifest.schema_version == SCHEMA_VERSION
    rows = read_rows(store, ["task_id", "sure"]).sort_by("task_id").to_pylist()
    assert rows == [{"task_id": "a", "sure": None}, {"task_id": "b", "sure": 0.5}]
    (path,) = tmp_path.glob("method=*/*.parquet")
    assert pq.read_schema(path).metadata[b"xaiserve.schema_version"] == b"3"


def test_rows_of_version_2_are_read_without_the_new_columns(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    open_results(store, CONFIGURATION).write_part(hits("a"), HITS)
    as_version_2(store)
    assert read_results(store, "rise", HITS) == hits("a")
