"""Rows of other versions: refused in a sentence."""

import json
from pathlib import Path

import pytest

from xaiserve.errors import InvalidInputError
from xaiserve.storage.dataset import SUCCESS, read_rows
from xaiserve.storage.ids import IdSet
from xaiserve.storage.local import LocalStore
from xaiserve.storage.results import open_results
from xaiserve.storage.versions import JOB, SCHEMA_VERSION
from xaiserve.testing.rows import CONFIGURATION, HITS, hits


def stated(store: LocalStore, key: str, version: int) -> None:
    """Let a file of an output say that it is of a version."""
    store.write(key, json.dumps(json.loads(store.read(key)) | {"schema_version": version}).encode())


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_rows_of_another_version_are_refused(
    tmp_path: Path, version: int, *, finished: bool
) -> None:
    store = LocalStore(tmp_path)
    results = open_results(store, CONFIGURATION)
    results.write_part(hits("a"), HITS)
    if finished:
        results.finish(IdSet.of_texts(["a"]))
    stated(store, SUCCESS if finished else JOB, version)
    with pytest.raises(
        InvalidInputError, match=f"schema version {version}, .* {SCHEMA_VERSION}; use"
    ):
        read_rows(store)


@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1])
def test_a_job_does_not_go_on_in_an_output_of_another_version(tmp_path: Path, version: int) -> None:
    store = LocalStore(tmp_path)
    open_results(store, CONFIGURATION)
    stated(store, JOB, version)
    with pytest.raises(InvalidInputError, match="use the xaiserve that wrote them"):
        open_results(store, CONFIGURATION)
