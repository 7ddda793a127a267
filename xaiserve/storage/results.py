"""Writing the results of one job so that it can be stopped anywhere and run again.

See `dataset` for the layout, and for what readers make of it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Any, Final, TypeVar

from xaiserve.errors import ArtifactNotFoundError, ConflictError
from xaiserve.storage.dataset import (
    METHOD,
    PARTS,
    SUCCESS,
    Manifest,
    Part,
    all_files,
    all_parts,
    part_key,
    read_manifest,
)
from xaiserve.storage.ids import IdSet
from xaiserve.storage.merging import Merge, merge, plan_merges
from xaiserve.storage.objects import ObjectStore, exists, read_if_there
from xaiserve.storage.outcomes import Outcomes
from xaiserve.storage.parquet import to_parquet
from xaiserve.storage.records import RowFormat, TaskRow
from xaiserve.storage.versions import JOB, SCHEMA_VERSION, check_version

R = TypeVar("R")

Merger = Callable[[Sequence[Merge]], Iterable[Part]]

_PARTS: Final = "_PARTS.json"
_VERSION: Final = version("xaiserve")


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
    InvalidInputError
        It was begun by a version of this code whose rows are of an unknown version.
    """
    return ResultSet(store, begin(store, JOB, configuration))


def begin(store: ObjectStore, key: str, configuration: Mapping[str, Any]) -> str:
    """Say in an output what it is of, unless it says so already; return its digest.

    Raises
    ------
    ConflictError, InvalidInputError
        See `open_results`.
    """
    digest = digest_of(configuration)
    record = {"schema_version": SCHEMA_VERSION, "digest": digest, "configuration": configuration}
    try:
        store.write(key, canonical_json(record).encode(), create_only=True)
    except ConflictError:
        there = json.loads(store.read(key))
        check_version(store, there["schema_version"])
        if there["digest"] != digest:
            differing = _differences(there["configuration"], json.loads(canonical_json(record)))
            raise ConflictError(
                f"output {store.uri} already holds another configuration, which differs in "
                f"{differing}; choose another output, or the same options to resume"
            ) from None
    return digest


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
        key = part_key(methods.pop(), digest_of(sorted(ids))[:32])
        self._store.write(key, to_parquet(table.replace_schema_metadata(metadata)))
        return key

    def done(self) -> Outcomes:
        """Say which tasks have a row, one row each: what a resumed job skips."""
        manifest = read_manifest(self._store)
        if manifest is not None:
            return Outcomes.read(self._store, [part.key for part in manifest.files])
        return Outcomes.read(self._store, self._parts() or all_parts(self._store)).chosen()

    @property
    def settled(self) -> bool:
        """Say whether it is decided which parts count: then no task can be done again."""
        return exists(self._store, _PARTS)

    def settle(self, tasks: IdSet) -> Outcomes:
        """Decide, once and for all drivers of this job, which row of which part counts.

        Raises
        ------
        ConflictError
            A task has no row yet.
        """
        keys = self._parts() or all_parts(self._store)
        chosen = Outcomes.read(self._store, keys).chosen().among(tasks)
        missing = len(tasks) - len(chosen)
        if missing:
            raise ConflictError(
                f"output {self._store.uri} lacks {missing} of {len(tasks)} tasks; run the job "
                "again to complete it"
            )
        counting = [chosen.parts[number] for number, _ in chosen.by_part()]
        try:
            self._store.write(_PARTS, canonical_json(counting).encode(), create_only=True)
        except ConflictError:
            if self._parts() != counting:  # another driver of the same job was faster
                return self.settle(tasks)
        return chosen

    def finish(self, tasks: IdSet, merged: Merger | None = None) -> Manifest:
        """Publish the data set with exactly one row for each of ``tasks``.

        Finishing again returns what was published before.

        Parameters
        ----------
        merged
            Writes the files, in this process by default.

        Raises
        ------
        ConflictError
            A task has no row yet.
        """
        manifest = read_manifest(self._store)
        if manifest is None:
            try:
                manifest = self._publish(tasks, merged or self._merged)
            except (ConflictError, ArtifactNotFoundError):
                # Another driver of the same job may have published it, and removed the parts.
                manifest = read_manifest(self._store)
                if manifest is None:
                    raise
        self._sweep(manifest)
        return manifest

    def _merged(self, merges: Sequence[Merge]) -> Iterable[Part]:
        return [merge(self._store, each) for each in merges]

    def _publish(self, tasks: IdSet, merged: Merger) -> Manifest:
        chosen = self.settle(tasks)
        files = tuple(sorted(merged(plan_merges(chosen)), key=lambda file: file.key))
        manifest = Manifest(
            schema_version=SCHEMA_VERSION,
            config_digest=self.config_digest,
            files=files,
            rows=len(chosen),
            counts=chosen.counts(),
            about={
                "configuration": json.loads(self._store.read(JOB))["configuration"],
                "xaiserve_version": _VERSION,
            },
        )
        self._store.write(SUCCESS, manifest.to_json(), create_only=True)
        return manifest

    def _sweep(self, manifest: Manifest) -> None:
        """Remove what does not count, so that readers who list the files see the same rows."""
        listed = {part.key for part in manifest.files}
        for key in all_files(self._store):
            if key not in listed:
                with suppress(ArtifactNotFoundError):  # another driver sweeps, too
                    self._store.remove(key)
        self._store.tidy(PARTS)

    def _parts(self) -> list[str] | None:
        """Return the parts that count, if that is decided."""
        text = read_if_there(self._store, _PARTS)
        found: list[str] | None = None if text is None else json.loads(text)
        return found


def _differences(there: Mapping[str, Any], record: Mapping[str, Any]) -> str:
    """Name the top-level keys in which two configurations differ."""
    given = record["configuration"]
    keys = sorted(key for key in {*there, *given} if there.get(key) != given.get(key))
    return ", ".join(keys)
