"""A job's output: begun once, written in parts, published once, read at any time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.errors import ConflictError, InvalidInputError
from xaiserve.storage.dataset import all_files, read_manifest, read_results, read_rows
from xaiserve.storage.ids import IdSet, key_of, keys_of
from xaiserve.storage.local import LocalStore
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.opening import open_store
from xaiserve.storage.outcomes import Outcomes
from xaiserve.storage.records import RowFormat
from xaiserve.storage.results import ResultSet, digest_of, open_results
from xaiserve.testing.rows import AREAS, CONFIGURATION, HITS, Area, Hit, Place, hits, task
from xaiserve.testing.stores import Counting


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest) -> ObjectStore:
    if request.param == "local":
        return LocalStore(request.getfixturevalue("tmp_path"))
    bucket, endpoint = (request.getfixturevalue(name) for name in ("bucket", "endpoint"))
    return open_store(f"s3://{bucket}/out", endpoint=endpoint)


@pytest.fixture
def results(store: ObjectStore) -> ResultSet:
    return open_results(store, CONFIGURATION)


def done(results: ResultSet) -> set[str]:
    """Name the tasks that have a row, of those that these tests use."""
    found = results.done().tasks
    return {text for text in "abc" if found.holds(keys_of([text]))[0]}


def ids_in(source: ObjectStore | Path) -> list[str]:
    return sorted(read_rows(source, ["task_id"])["task_id"].to_pylist())


def test_the_same_configuration_resumes(store: ObjectStore, results: ResultSet) -> None:
    results.write_part(hits("a", "b"), HITS)
    again = open_results(store, {"seed": 0, "methods": ["rise", "lime"]})
    assert again.config_digest == results.config_digest == digest_of(CONFIGURATION)
    assert done(again) == {"a", "b"}


@pytest.mark.usefixtures("results")
def test_another_configuration_is_refused(store: ObjectStore) -> None:
    with pytest.raises(ConflictError, match="holds another configuration, which differs in seed;"):
        open_results(store, CONFIGURATION | {"seed": 1})
    with pytest.raises(ConflictError, match="differs in extra, methods;"):
        open_results(store, {"extra": 1, "seed": 0})


def test_a_configuration_that_is_no_json_is_refused(store: ObjectStore) -> None:
    with pytest.raises(ValueError, match="JSON"):
        open_results(store, {"x": float("nan")})


def test_rows_are_read_as_they_were_written(store: ObjectStore, results: ResultSet) -> None:
    rows = hits("a", "b") + hits("c", status="error")
    results.write_part(rows, HITS)
    assert read_results(store, "rise", HITS) == rows
    assert read_results(store, "lime", HITS) == []


def test_the_same_tasks_overwrite_the_same_part(store: ObjectStore, results: ResultSet) -> None:
    first = results.write_part(hits("a", "b"), HITS)
    assert results.write_part(hits("b", "a"), HITS) == first
    assert all_files(store) == [first]


@pytest.mark.parametrize(
    "rows", [[], hits("a", "a"), [*hits("a"), (task("b", method="lime"), Hit(True))]]
)
def test_a_part_of_several_methods_or_of_one_task_twice_is_refused(
    rows: Sequence[Any], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="a part must hold rows of one method"):
        open_results(LocalStore(tmp_path), CONFIGURATION).write_part(rows, HITS)


def test_publication_counts_rows_by_status(store: ObjectStore, results: ResultSet) -> None:
    results.write_part(hits("a", "b"), HITS)
    results.write_part(hits("c", status="error"), HITS)
    manifest = results.finish(IdSet.of_texts(["a", "b", "c"]))
    assert (manifest.rows, manifest.counts) == (3, {"error": 1, "ok": 2})
    assert {part.key: part.size for part in manifest.files} == {
        key: store.size(key) for key in store.list("method=")
    }
    assert manifest.config_digest == results.config_digest
    assert read_manifest(store) == manifest
    assert json.loads(store.read("_SUCCESS.json"))["rows"] == 3


def test_an_incomplete_job_is_not_published(store: ObjectStore, results: ResultSet) -> None:
    results.write_part(hits("a"), HITS)
    with pytest.raises(ConflictError, match="lacks 2 of 3 tasks; run the job again"):
        results.finish(IdSet.of_texts(["a", "b", "c"]))
    assert read_manifest(store) is None


def test_a_task_in_two_parts_is_one_row(store: ObjectStore, results: ResultSet) -> None:
    results.write_part(hits("a", "b"), HITS)
    results.write_part(hits("b", "c"), HITS)
    results.write_part(hits("c", status="error"), HITS)
    before = read_rows(store).sort_by("task_id")
    assert before["task_id"].to_pylist() == ["a", "b", "c"]
    assert before["status"].to_pylist() == ["ok"] * 3

    manifest = results.finish(IdSet.of_texts(["a", "b", "c"]))
    assert manifest.rows == sum(part.rows for part in manifest.files) == 3
    assert read_rows(store).sort_by("task_id").equals(before)
    assert all_files(store) == sorted(part.key for part in manifest.files)


def test_what_is_written_after_publication_counts_for_nothing(
    store: ObjectStore, results: ResultSet
) -> None:
    results.write_part(hits("a", "b"), HITS)
    manifest = results.finish(IdSet.of_texts(["a", "b"]))
    late = results.write_part(hits("b", "c"), HITS)
    assert ids_in(store) == ["a", "b"]
    assert done(results) == {"a", "b"}
    assert results.finish(IdSet.of_texts(["a", "b"])) == manifest
    assert late not in store.list()


def test_rows_of_tasks_that_are_not_the_jobs_are_left_out(results: ResultSet) -> None:
    results.write_part(hits("a", "stray"), HITS)
    assert results.finish(IdSet.of_texts(["a"])).rows == 1


def test_debris_is_not_read(tmp_path: Path) -> None:
    results = open_results(LocalStore(tmp_path), CONFIGURATION)
    results.write_part(hits("a"), HITS)
    (tmp_path / "_parts" / "method=rise" / ".tmp-half").write_bytes(b"PAR1 half a file")
    assert ids_in(tmp_path) == ["a"]


def test_methods_of_different_columns_are_read_together(
    store: ObjectStore, results: ResultSet
) -> None:
    results.write_part(hits("a"), HITS)
    results.write_part([(task("b", method="lime"), Area(5))], AREAS)
    rows = read_rows(store, ["task_id", "method", "hit", "area_px"]).to_pylist()
    assert sorted(rows, key=lambda row: row["task_id"]) == [
        {"task_id": "a", "method": "rise", "hit": True, "area_px": None},
        {"task_id": "b", "method": "lime", "hit": None, "area_px": 5},
    ]
    assert read_rows(store, ["task_id"], methods=["lime"])["task_id"].to_pylist() == ["b"]


def test_one_name_for_two_types_is_told(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Odd:
        hit: str

    results = open_results(LocalStore(tmp_path), CONFIGURATION)
    results.write_part(hits("a"), HITS)
    results.write_part([(task("b", method="lime"), Odd("x"))], RowFormat(Odd, Place))
    with pytest.raises(InvalidInputError, match="read one at a time"):
        read_rows(tmp_path)


def test_an_unknown_column_is_refused(tmp_path: Path) -> None:
    open_results(LocalStore(tmp_path), CONFIGURATION).write_part(hits("a"), HITS)
    with pytest.raises(InvalidInputError, match=r"column must be one of .*task_id.*, got nonsense"):
        read_rows(tmp_path, ["task_id", "nonsense"])


def test_nothing_is_read_from_an_empty_output(tmp_path: Path) -> None:
    assert read_rows(tmp_path).num_rows == 0


def test_each_file_says_where_it_comes_from(tmp_path: Path) -> None:
    results = open_results(LocalStore(tmp_path), CONFIGURATION)
    results.write_part(hits("a", "b"), HITS)
    results.write_part(hits("b", seed=1), HITS)
    results.finish(IdSet.of_texts(["a", "b"]))
    for path in tmp_path.rglob("*.parquet"):  # a part that was cut keeps it too
        metadata = pq.read_schema(path).metadata
        assert metadata[b"xaiserve.params_json"] == b'{"cells":8}'
        assert metadata[b"xaiserve.version"] == b"0.1.0"
        assert metadata[b"xaiserve.config_digest"] == results.config_digest.encode()
        assert metadata[b"xaiserve.schema_version"] == b"3"


def test_other_readers_see_the_same_rows(tmp_path: Path) -> None:
    results = open_results(LocalStore(tmp_path), CONFIGURATION)
    results.write_part(hits("a", "b"), HITS)
    results.write_part(hits("b", "c"), HITS)
    results.finish(IdSet.of_texts(["a", "b", "c"]))
    frame = pd.read_parquet(tmp_path / "method=rise")
    assert sorted(frame["task_id"]) == ["a", "b", "c"]
    table = ds.dataset(tmp_path, format="parquet", partitioning="hive", exclude_invalid_files=True)
    assert table.to_table(columns=["task_id", "method"]).num_rows == 3
    assert set(table.to_table()["method"].to_pylist()) == {"rise"}


def test_resuming_does_not_transfer_the_results(tmp_path: Path) -> None:
    @dataclass(frozen=True)
    class Large:
        blob: bytes

    local = LocalStore(tmp_path)
    noise = b"".join(digest_of(i).encode() for i in range(20_000))
    large = RowFormat(Large, Place)
    key = open_results(local, CONFIGURATION).write_part([(task("a"), Large(noise))], large)
    counting = Counting(local)
    assert done(ResultSet(counting, "")) == {"a"}
    assert counting.transferred < local.size(key) / 5


def places(found: Outcomes) -> dict[bytes, tuple[str, int]]:
    parts = [found.parts[number] for number in found.part]
    keys = [bytes(each).ljust(16, b"\0") for each in found.ids]
    return dict(zip(keys, zip(parts, found.position.tolist(), strict=True), strict=True))


PARTS = st.dictionaries(
    st.sampled_from(["p", "q", "r"]),
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ok", "error"])), max_size=4),
)


@settings(max_examples=50)
@given(parts=PARTS, order=st.randoms(use_true_random=False))
def test_the_row_that_counts_depends_on_the_parts_alone(parts: dict[str, Any], order: Any) -> None:
    shuffled = list(parts.items())
    order.shuffle(shuffled)
    chosen = places(Outcomes.of(parts).chosen())
    assert places(Outcomes.of(dict(shuffled)).chosen()) == chosen
    every = {task_id for rows in parts.values() for task_id, _ in rows}
    assert set(chosen) == {key_of(task_id) for task_id in every}
    for task_id in every:
        key, position = chosen[key_of(task_id)]
        rivals = [status for rows in parts.values() for i, status in rows if i == task_id]
        assert parts[key][position] == (task_id, "ok" if "ok" in rivals else "error")


def test_a_job_that_two_drivers_finish_is_published_once(
    store: ObjectStore, results: ResultSet
) -> None:
    results.write_part(hits("a"), HITS)

    class Slow:
        """Sees no manifest at first, as a driver does that looked a moment too early."""

        def __init__(self) -> None:
            self.looks = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def read(self, key: str) -> bytes:
            self.looks += key == "_SUCCESS.json"
            return store.read("no such key" if self.looks == 1 else key)

    first = results.finish(IdSet.of_texts(["a"]))
    assert ResultSet(Slow(), results.config_digest).finish(IdSet.of_texts(["a"])) == first
    assert replace(first) == read_manifest(store)
