"""Parts become few files, and each row is there once, whatever dies in between."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from xaiserve.storage.dataset import all_parts, find_rows, read_manifest, read_rows
from xaiserve.storage.ids import IdSet
from xaiserve.storage.local import LocalStore
from xaiserve.storage.merging import merge, plan_merges
from xaiserve.storage.outcomes import Outcomes
from xaiserve.storage.records import RowFormat
from xaiserve.storage.results import ResultSet, open_results
from xaiserve.testing.rows import AREAS, CONFIGURATION, HITS, Area, Place, hits, task
from xaiserve.testing.stores import Counting

TASKS = IdSet.of_texts(["a", "b", "c", "d", "x"])


@dataclass(frozen=True)
class Large:
    blob: bytes


LARGE = RowFormat(Large, Place)


def noise(name: str) -> bytes:
    return np.random.default_rng(int(name)).bytes(50_000)


def unfinished(folder: Path) -> ResultSet:
    """Begin a job with parts that overlap, one of them of another method."""
    results = open_results(LocalStore(folder), CONFIGURATION)
    results.write_part(hits("a", "b"), HITS)
    results.write_part(hits("b", "c"), HITS)
    results.write_part([*hits("c", status="error"), *hits("d")], HITS)
    results.write_part([(task("x", method="lime"), Area(5))], AREAS)
    return results


def seen_by_others(folder: Path) -> Counter[str]:
    """Count the tasks that a reader sees who lists the files."""
    found = Counter[str]()
    for path in folder.glob("method=*/*.parquet"):
        found.update(pq.read_table(path, columns=["task_id"])["task_id"].to_pylist())
    return found


class Dying:
    """A store whose driver dies after so many changes, before or after the last took place."""

    def __init__(self, store: LocalStore, changes: int) -> None:
        self._store, self._left = store, changes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        self._die()
        self._store.write(key, data, create_only=create_only)

    def remove(self, key: str) -> None:
        self._die()
        self._store.remove(key)

    def tidy(self, prefix: str) -> None:
        self._die()
        self._store.tidy(prefix)

    def _die(self) -> None:
        if not self._left:
            raise KeyboardInterrupt
        self._left -= 1


def test_a_driver_may_die_at_any_moment_of_the_merging(tmp_path: Path) -> None:
    died = 0
    for changes in range(20):
        folder = tmp_path / str(changes)
        results = unfinished(folder)
        store = LocalStore(folder)
        try:
            ResultSet(Dying(store, changes), results.config_digest).finish(TASKS)
        except KeyboardInterrupt:
            died += 1
        assert set(seen_by_others(folder).values()) <= {1}
        assert sorted(read_rows(store, ["task_id"])["task_id"].to_pylist()) == [*"abcdx"]
        manifest = results.finish(TASKS)
        assert (manifest.rows, manifest.counts) == (5, {"ok": 5})
        assert seen_by_others(folder) == Counter("abcdx")
        assert all_parts(store) == []
        assert not (folder / "_parts").exists()
    assert died == 9  # which parts count, two files, the list of them, four parts and their folder


def test_what_is_merged_again_is_the_same_file(tmp_path: Path) -> None:
    merges = []
    for name in ("one", "two"):
        results = unfinished(tmp_path / name)
        merges.append(plan_merges(results.settle(TASKS)))
    store = LocalStore(tmp_path / "one")
    first = [merge(store, each) for each in merges[0]]
    assert [each.key for each in first] == [each.key for each in merges[1]]
    assert [merge(store, each) for each in merges[0]] == first


def test_a_part_that_comes_late_changes_nothing(tmp_path: Path) -> None:
    results = unfinished(tmp_path)
    before = results.settle(TASKS)
    late = results.write_part(hits("a", "c", "d"), HITS)
    assert [each.key for each in plan_merges(results.settle(TASKS))] == [
        each.key for each in plan_merges(before)
    ]
    assert results.settled
    results.finish(TASKS)
    assert late not in all_parts(LocalStore(tmp_path))


@pytest.mark.parametrize(("sizes", "files"), [([10] * 3, 1), ([40] * 10, 4), ([250, 10, 10], 3)])
def test_files_come_out_near_the_size_they_aim_at(sizes: list[int], files: int) -> None:
    parts = {
        f"_parts/method=rise/part-{i:02d}.parquet": [(f"t{i}", "ok")] for i in range(len(sizes))
    }
    found = Outcomes.of(parts)
    sized = Outcomes(**{**fields_of(found), "sizes": tuple(sizes)})
    merges = plan_merges(sized.chosen(), file_bytes=100)
    assert sum(each.rows for each in merges) == len(sizes)
    assert len(merges) <= files
    assert [piece.key for each in merges for piece in each.pieces] == sorted(parts)


def fields_of(found: Outcomes) -> dict[str, Any]:
    return {name: getattr(found, name) for name in Outcomes.__dataclass_fields__}


def test_a_million_rows_are_planned_in_little_memory_and_time() -> None:
    rows, parts = 1_000_000, 4_000
    random = np.random.default_rng(0)
    ids = random.bytes(16 * rows)
    found = Outcomes(
        parts=tuple(f"_parts/method=rise/part-{i:05d}.parquet" for i in range(parts)),
        sizes=(1 << 20,) * parts,
        lengths=(rows // parts,) * parts,
        ids=np.frombuffer(ids, "S16"),
        part=np.repeat(np.arange(parts, dtype=np.int32), rows // parts),
        position=np.tile(np.arange(rows // parts, dtype=np.int32), parts),
        status=np.zeros(rows, np.int8),
    )
    merges = plan_merges(found.chosen())
    assert sum(each.rows for each in merges) == rows
    assert len(merges) == round(parts / 128)


def test_pandas_duckdb_and_pyarrow_read_the_same_rows(tmp_path: Path) -> None:
    unfinished(tmp_path).finish(TASKS)
    expected = [(i, "lime" if i == "x" else "rise") for i in "abcdx"]
    pattern = str(tmp_path / "method=*" / "*.parquet")

    rows = duckdb.read_parquet(pattern, union_by_name=True, hive_partitioning=True)
    assert rows.select("task_id", "method").order("task_id").fetchall() == expected
    assert rows.filter("method = 'rise'").count("*").fetchall() == [(4,)]

    manifest = read_manifest(LocalStore(tmp_path))
    assert manifest is not None
    files = [str(tmp_path / file.key) for file in manifest.files]
    table = ds.dataset(files, partitioning="hive", partition_base_dir=str(tmp_path)).to_table()
    assert sorted(zip(table["task_id"].to_pylist(), table["method"].to_pylist(), strict=True)) == (
        expected
    )
    frame = pd.read_parquet(tmp_path / "method=rise")
    assert sorted(frame["task_id"]) == [*"abcd"]


@pytest.mark.parametrize("finished", [True, False])
def test_some_rows_are_found_without_the_results_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, finished: bool
) -> None:
    monkeypatch.setattr("xaiserve.storage.merging.GROUP_BYTES", 1)  # a row group per part
    local = LocalStore(tmp_path)
    results = open_results(local, CONFIGURATION)
    names = [f"{number:02}" for number in range(20)]
    for name in names:
        results.write_part([(task(name), Large(noise(name)))], LARGE)
    results.write_part([*hits("05", status="error"), *hits("20", status="error")], HITS)
    if finished:
        results.finish(IdSet.of_texts([*names, "20"]))

    counting = Counting(local)
    found = [
        row for table in find_rows(counting, "rise", ["17", "05"]) for row in table.to_pylist()
    ]
    assert {row["row_id"]: row["blob"] for row in found} == {
        name: noise(name) for name in ("05", "17")
    }
    assert {row["method"] for row in found} == {"rise"}
    if finished:
        assert counting.transferred < 4 * len(noise("05"))
    assert not list(find_rows(local, "rise", ["absent"]))
    assert not list(find_rows(local, "lime", ["05"]))
