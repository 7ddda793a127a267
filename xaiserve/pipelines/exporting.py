"""Rows of a job for people and programs: as lines of text, and as pictures."""

import base64
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.base import Explanation, WithSets
from xaiserve.models.frame import Frame
from xaiserve.pipelines.loading import read_image
from xaiserve.pipelines.reading import Row, stored_results
from xaiserve.report.overlays import over_original
from xaiserve.report.panels import draw
from xaiserve.storage.dataset import METHOD, each_row
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.pictures import decode, encode_png
from xaiserve.storage.records import TaskRow

SHORT: Final = (
    *("image_name", "row_id", METHOD, "status", "target_label", "confidence"),
    *("model_inputs", "error_text"),
)
"""Columns that a table has where none are named."""


def matching_rows(
    store: ObjectStore,
    columns: Sequence[str] | None,
    *,
    methods: Sequence[str] = (),
    statuses: Sequence[str] = (),
    row_ids: Sequence[str] = (),
) -> Iterator[Row]:
    """Yield the rows of a job, finished or not, as JSON values; empty filters let all through."""
    needed = None if columns is None else list(dict.fromkeys([*columns, "status", "row_id"]))
    for row in each_row(store, needed, methods=methods or None):
        fits = not statuses or row["status"] in statuses
        if fits and (not row_ids or row["row_id"] in row_ids):
            names = row if columns is None else columns
            yield {name: _plain(row.get(name)) for name in names}


def _plain(value: Any) -> Any:  # Any: of Parquet
    """Write bytes as base64, times as text, and what is no number as null."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.isoformat() if hasattr(value, "isoformat") else value


def write_pictures(
    store: ObjectStore, folder: Path, methods: Sequence[str], row_ids: Sequence[str]
) -> list[Path]:
    """Write overlay and masks, in the pixels of the original, of each explanation of some images.

    Raises
    ------
    InvalidInputError
        The folder cannot be written, or there is no such explanation.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"folder {folder} cannot be made: {error.strerror}") from error
    written: list[Path] = []
    for method in methods:
        for task, result, _ in stored_results(store, method, row_ids):
            written += _pictures(folder, task, result)
    if not written:
        raise InvalidInputError(
            f"rows {', '.join(row_ids)} must have an explanation by {', '.join(methods)}; "
            "none has one"
        )
    return written


def _pictures(folder: Path, task: TaskRow, result: Explanation) -> Iterator[Path]:
    assert isinstance(task.frame, Frame), f"row {task.row_id} is ok and has no frame"  # noqa: S101
    original = decode(read_image(task.image_uri)).image
    # As in addresses: no two ids share a name.
    stem = f"{task.row_id.replace('%', '%25').replace('/', '%2F')}.{task.method}"
    overlay = draw(over_original(result, task.frame, original, getattr(result, "region", None)))
    yield _written(folder / f"{stem}.overlay.png", encode_png(overlay))
    sets: object = result
    if isinstance(sets, WithSets):
        for number, place in enumerate(sets.selected, 1):
            mask = task.frame.mask_to_original(sets.explanations[place].mask)
            yield _written(folder / f"{stem}.mask-{number}.png", encode_png(mask.numpy()))


def _written(path: Path, data: bytes) -> Path:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InvalidInputError(f"file {path} cannot be written: {error.strerror}") from error
    return path
