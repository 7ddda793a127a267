"""The version of a job's rows: an output has rows of one, or a filter would miss some of them."""

import json
from collections.abc import Mapping
from typing import Any, Final

from xaiserve.errors import InvalidInputError
from xaiserve.storage.objects import ObjectStore, read_if_there

JOB: Final = "_job.json"

SCHEMA_VERSION: Final = 3
"""Raised whenever readers must know which of two kinds of rows they have.

2: files of merged rows. 3: columns of statistics.
"""


def check_version(store: ObjectStore, version: int) -> None:
    """Refuse rows of another version than this code's.

    Raises
    ------
    InvalidInputError
        So they are; the message names both.
    """
    if version != SCHEMA_VERSION:
        raise InvalidInputError(
            f"output {store.uri} has rows of schema version {version}, and this xaiserve reads "
            f"and writes {SCHEMA_VERSION}; use the xaiserve that wrote them, or another output"
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
