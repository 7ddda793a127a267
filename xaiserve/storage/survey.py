"""What a job must know of its images before it begins, from one walk that holds none of them."""

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass

from xaiserve.errors import ConflictError, InvalidInputError
from xaiserve.storage.ids import BYTES, as_keys, key_of
from xaiserve.storage.images import ImageList, no_image, repeated_id
from xaiserve.storage.manifest import ImageRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """An input in numbers.

    Parameters
    ----------
    rows
        How many, at least 1.
    digest
        Of all rows in order, hexadecimal.
    without_truth
        Id of the first row that names no ground truth; None when all do.
    without_contrast
        Rows that name no contrast picture of their own.
    """

    rows: int
    digest: str
    without_truth: str | None
    without_contrast: int


def row_digest(row: ImageRow) -> bytes:
    """Return what stands for a row in the ids of its tasks: 16 bytes of a sha256."""
    fields = [getattr(row, name) for name in _FIELDS]
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).digest()[:BYTES]


_FIELDS = tuple(field.name for field in dataclasses.fields(ImageRow))


def survey(images: ImageList) -> Survey:
    """Walk through ``images`` once.

    Raises
    ------
    InvalidInputError
        There is no row, one cannot be read, or two have one id.
    """
    whole, seen, without_contrast = hashlib.sha256(), bytearray(), 0
    without_truth: str | None = None
    for row in images.rows():
        whole.update(row_digest(row))
        seen += key_of(row.row_id)
        without_contrast += row.contrast is None
        if without_truth is None and not row.has_truth:
            without_truth = row.row_id
    if not seen:
        raise no_image(images.images)
    _check_distinct(seen, images)
    return Survey(
        rows=len(seen) // BYTES,
        digest=whole.hexdigest(),
        without_truth=without_truth,
        without_contrast=without_contrast,
    )


def unchanged(images: ImageList, known: Survey) -> Iterator[tuple[ImageRow, bytes]]:
    """Walk through ``images`` again, with `row_digest` of each row.

    Raises
    ------
    ConflictError
        At the end: they are no longer those that were surveyed.
    """
    whole = hashlib.sha256()
    for row in images.rows():
        digest = row_digest(row)
        whole.update(digest)
        yield row, digest
    if whole.hexdigest() != known.digest:
        raise ConflictError(
            f"images {images.images} have changed since the job began; a job's input must stay as "
            "it is, so restore it, or choose another output for the new one"
        )


def _check_distinct(seen: bytearray, images: ImageList) -> None:
    keys = as_keys(seen)
    keys.sort()
    again = keys[1:][keys[1:] == keys[:-1]]
    if len(again):
        raise _repeated(bytes(again[0]).ljust(BYTES, b"\0"), images)


def _repeated(key: bytes, images: ImageList) -> InvalidInputError:
    """Find which rows have an id; told by their numbers."""
    found = [
        (number, row.row_id)
        for number, row in enumerate(images.rows())
        if key_of(row.row_id) == key
    ]
    (first, row_id), (second, _) = found[:2]
    return repeated_id(images.images, row_id, first, second)
