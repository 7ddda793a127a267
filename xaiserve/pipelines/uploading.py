"""Bring a laptop's pictures to where a cluster can read them: by digest, beside the rows."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import PurePosixPath
from typing import Any, Final

from xaiserve.pipelines.loading import read_image
from xaiserve.storage.manifest import ImageRow
from xaiserve.storage.objects import ObjectStore, exists
from xaiserve.storage.opening import is_s3
from xaiserve.storage.results import digest_of

FOLDER: Final = "_uploads"


def upload(rows: Sequence[ImageRow], store: ObjectStore) -> str:
    """Copy local pictures and what goes with them into ``store``; return their manifest's address.

    Equal files are stored once; those that are there already are not sent again. Rows whose files
    are in a bucket stay as they are.

    Raises
    ------
    InvalidInputError, NotFoundError
        A file cannot be read.
    """
    sent: dict[str, str] = {}
    moved = [
        replace(
            row,
            uri=_moved(row.uri, store, sent),
            mask=None if row.mask is None else _moved(row.mask, store, sent),
            contrast=None if row.contrast is None else _moved(row.contrast, store, sent),
            feature_masks=tuple(_moved(each, store, sent) for each in row.feature_masks),
        )
        for row in rows
    ]
    records = [_record(row) for row in moved]
    key = f"{FOLDER}/{digest_of(records)}.jsonl"
    store.write(key, "\n".join(json.dumps(record) for record in records).encode())
    return f"{store.uri}/{key}"


def _moved(uri: str, store: ObjectStore, sent: dict[str, str]) -> str:
    if is_s3(uri):
        return uri
    if uri not in sent:
        data = read_image(uri)
        ending = PurePosixPath(uri).suffix.lower()
        key = f"{FOLDER}/{hashlib.sha256(data).hexdigest()}{ending}"
        if not exists(store, key):
            store.write(key, data)
        sent[uri] = f"{store.uri}/{key}"
    return sent[uri]


def _record(row: ImageRow) -> dict[str, Any]:  # Any: JSON
    fields = {"id": row.row_id, **asdict(row)}
    del fields["row_id"]
    return {name: value for name, value in fields.items() if value}
