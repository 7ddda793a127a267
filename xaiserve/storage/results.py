"""Writing the results of one job so that it can be stopped anywhere and run again.

See `dataset` for the layout, and for what readers make of it.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, TypeVar

import pyarrow as pa

from xaiserve.errors import ConflictError
from xaiserve.storage.dataset import (
    METHOD,
    SUCCESS,
    Manifest,
    Part,
    all_parts,
    current_parts,
    method_of,
    outcomes_in,
    part_key,
    read_manifest,
    rows_that_count,
)
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.parquet import read_parquet, to_parquet
from xaiserve.storage.records import RowFormat, TaskRow

R = TypeVar("R")

SCHEMA_VERSION: Final = 1
"""Raised whenever readers of older data sets would misunderstand a newer one."""

_JOB: Final = "job.json"


def canonical_json(value: object) -> str:
    """Write JSON so that equal values give equal text.

    Raises
    ------
    TypeError, ValueError
        The value is no JSON, or holds NaN or infinity.
    """
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def digest_of(value: object) -> str:
    """Return the sha256 of a value's canonical JSON, hexadecimal."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def open_results(store: ObjectStore, configuration: Mapping[str, Any]) -> "ResultSet":
    """Begin a job's output, or resume it.

    Parameters
    ----------
    store
        Rooted at the output's prefix.
    configuration
        All that decides the results, as JSON: inputs, models, methods, parameters, seed, version.

    Raises
    ------
    ConflictError
        The output was begun with another configuration; the message names what differs.
    """
    digest = digest_of(configuration)
    record = {"schema_version": SCHEMA_VERSION, "digest": digest, "configuration": configuration}
    try:
        store.write(_JOB, canonical_json(record).encode(), create_only=True)
    except ConflictError:
        there = json.loads(store.read(_JOB))
        if (there["schema_version"], there["digest"]) != (SCHEMA_VERSION, digest):
            differing = _differences(there["configuration"], json.loads(canonical_json(record)))
            raise ConflictError(
                f"output {store.uri} already holds another configuration, which differs in "
                f"{differing}; choose another output, or the same options to resume"
            ) from None
    return ResultSet(store, digest)


class ResultSet:
    """The output of one job, for writing; made by `open_results`.

    Parameters
    ----------
    store
        Rooted at the output's prefix.
    config_digest
        Digest of the job's configuration.
    """

    def __init__(self, store: ObjectStore, config_digest: str) -> None:
        self._store = store
        self.config_digest = config_digest

    def write_part(self, rows: Sequence[tuple[TaskRow, R | None]], row_format: RowFormat[R]) -> str:
        """Write some tasks of one method in one go; return the part's key.

        Raises
        ------
        ValueError
            No rows, rows of several methods, or of one task twice.
        """
        tasks = [task for task, _ in rows]
        ids, methods = {task.task_id for task in tasks}, {task.method for task in tasks}
        if len(methods) != 1 or len(ids) != len(tasks):
            raise ValueError(
                f"a part must hold rows of one method and each task once, got {len(tasks)} rows of "
                f"{len(ids)} tasks and methods {sorted(methods)}"
            )
        metadata = {
            "xaiserve.schema_version": str(SCHEMA_VERSION),
            "xaiserve.config_digest": self.config_digest,
            "xaiserve.version": tasks[0].xaiserve_version,
            "xaiserve.params_json": tasks[0].params_json,
        }
        table = row_format.to_table(rows).drop_columns([METHOD])
        return self._write(methods.pop(), table.replace_schema_metadata(metadata))

    def done_tasks(self) -> dict[str, str]:
        """Return the status of the tasks that have a row, by id: what a resumed job skips."""
        parts = {key: outcomes_in(self._store, key) for key in current_parts(self._store)}
        chosen = rows_that_count(parts)
        return {task_id: parts[key][row][1] for task_id, (key, row) in chosen.items()}

    def finish(self, task_ids: Collection[str]) -> Manifest:
        """Publish the data set with exactly one row for each of ``task_ids``.

        Superfluous parts are removed, so that readers who know nothing of ``_SUCCESS.json`` see
        the same rows. Finishing again returns what was published before.

        Raises
        ------
        ConflictError
            A task has no row yet.
        """
        manifest = read_manifest(self._store) or self._publish(frozenset(task_ids))
        listed = {part.key for part in manifest.files}
        for key in all_parts(self._store):
            if key not in listed:
                self._store.remove(key)
        return manifest

    def _publish(self, task_ids: frozenset[str]) -> Manifest:
        parts = {key: outcomes_in(self._store, key) for key in all_parts(self._store)}
        chosen = rows_that_count(parts)
        missing = sorted(task_ids - chosen.keys())
        if missing:
            raise ConflictError(
                f"output {self._store.uri} lacks {len(missing)} of {len(task_ids)} tasks, "
                f"{missing[0]} for one; run the job again to complete it"
            )
        kept = [chosen[task_id] for task_id in sorted(task_ids)]
        manifest = self._manifest(parts, kept)
        try:
            self._store.write(SUCCESS, manifest.to_json(), create_only=True)
        except ConflictError:
            # Another driver of the same job was faster, and readers may have begun with its list.
            return read_manifest(self._store) or manifest
        return manifest

    def _manifest(
        self, parts: Mapping[str, Sequence[tuple[str, str]]], kept: Sequence[tuple[str, int]]
    ) -> Manifest:
        positions: dict[str, list[int]] = {}
        for key, position in sorted(kept):
            positions.setdefault(key, []).append(position)
        files = tuple(
            self._cut(key, rows, whole=len(rows) == len(parts[key]))
            for key, rows in positions.items()
        )
        return Manifest(
            schema_version=SCHEMA_VERSION,
            config_digest=self.config_digest,
            files=files,
            rows=len(kept),
            counts=dict(sorted(Counter(parts[key][row][1] for key, row in kept).items())),
        )

    def _cut(self, key: str, positions: Sequence[int], *, whole: bool) -> Part:
        """Return a part that holds only the rows that count: itself, or a new one."""
        if not whole:
            table = read_parquet(self._store, key).take(pa.array(positions, pa.int64()))
            key = self._write(method_of(key), table)
        return Part(key=key, size=self._store.size(key), rows=len(positions))

    def _write(self, method: str, table: pa.Table) -> str:
        key = part_key(method, digest_of(sorted(table["task_id"].to_pylist()))[:32])
        self._store.write(key, to_parquet(table))
        return key


def _differences(there: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Name the top-level keys in which two configurations differ."""
    given = record["configuration"]
    keys = sorted(key for key in {*there, *given} if there.get(key) != given.get(key))
    return ", ".join(keys) or "the version of its layout"
