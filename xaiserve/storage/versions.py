"""Versions of a job's rows: what this code writes, and what it can read."""

import json
from collections.abc import Mapping
from typing import Any, Final

from xaiserve.errors import InvalidInputError
from xaiserve.storage.objects import ObjectStore, read_if_there

JOB: Final = "job.json"

SCHEMA_VERSION: Final = 3
"""Raised whenever readers must know which of two kinds of rows they have.

2: files of merged rows. 3: columns of statistics, which are null in rows of 2.
"""

READABLE: Final = (2, SCHEMA_VERSION)
"""The oldest and the newest version that can be read, and that a job can go on from."""


def check_version(store: ObjectStore, version: int) -> None:
    """Refuse rows of a version that this code does not know.

    Raises
    ------
    InvalidInputError
        So they are; the message names both.
    """
    oldest, newest = READABLE
    if not oldest <= version <= newest:
        raise InvalidInputError(
            f"output {store.uri} has rows of schema version {version}, and this xaiserve reads "
            f"{oldest} to {newest}; use the xaiserve that wrote them"
        )


def read_job(store: ObjectStore) -> Mapping[str, Any] | None:  # Any: JSON
    """Read what began an output; None where nothing did.

    Raises
    ------
    InvalidInputError
        Its rows are of an unknown version.
    """
    text = read_if_there(store, JOB)
    if text is None:
        return None
    found: dict[str, Any] = json.loads(text)
    check_version(store, found["schema_version"])
    return found
