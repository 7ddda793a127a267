"""COCO annotations as rows: one per image and category, whose instances are its ground truth.

Annotations may stand in any order and there may be a million, so that they are sorted in a
temporary database on disk.
"""

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, Final

import ijson

from xaiserve.errors import InvalidInputError
from xaiserve.storage.manifest import ImageRow, beside, checked_box
from xaiserve.storage.manifest_formats import first_byte
from xaiserve.storage.opening import open_file

_TABLES: Final = """
create table images (id, file, unique (id, file));
create table categories (id, name, unique (id, name));
create table annotations (image, category, box, outline);
"""
_SORTED: Final = """
select images.id, images.file, categories.name,
       json_group_array(json(box)), json_group_array(json(outline))
from annotations join images on images.id = image join categories on categories.id = category
group by images.id, categories.id order by images.id, categories.id
"""


def is_coco(images: str) -> bool:
    """Say whether a file is JSON that begins an object, where manifests have a list."""
    with open_file(images) as file:
        return PurePosixPath(images).suffix.lower() == ".json" and first_byte(file) == b"{"


def coco_walk(annotations: str, root: str | None) -> Callable[[], Iterator[ImageRow]]:
    """Read COCO annotations and return what walks through their rows.

    Images without annotations have no row.

    Parameters
    ----------
    annotations
        Address of the JSON file.
    root
        Where the pictures are; beside it when none.

    Raises
    ------
    InvalidInputError
        The file is no such JSON, holds no annotation, or one of an image or a category that it does
        not list, or lists under one id twice.
    """
    # An empty name makes a database in a temporary file that goes away with the connection.
    base = sqlite3.connect("", check_same_thread=False)
    base.executescript(_TABLES)
    try:
        for kind, columns in _COLUMNS.items():
            marks = ", ".join("?" * len(columns))
            base.executemany(
                f"insert or ignore into {kind} values ({marks})",  # noqa: S608 -- our own names
                (_values(record, columns) for record in _records(annotations, kind)),
            )
    except (ijson.JSONError, UnicodeDecodeError) as error:
        said = str(error).partition("\n")[0]
        raise InvalidInputError(f"images {annotations} cannot be read: {said}") from error
    except (KeyError, TypeError) as error:
        raise InvalidInputError(
            f"images {annotations} must be a list of objects, one per image, or COCO annotations "
            f"with images, annotations and categories: {error}"
        ) from error
    _check_listed(annotations, base)
    return lambda: (_row(annotations, root, record) for record in base.execute(_SORTED))


def _check_listed(annotations: str, base: sqlite3.Connection) -> None:
    """Refuse what holds no annotation, and those of which nobody knows the picture or the class."""
    (found,) = base.execute("select count(*) from annotations").fetchone()
    if not found:
        raise InvalidInputError(
            f"images {annotations} must be a list of objects, one per image, or COCO annotations "
            "with images, annotations and categories: it holds no annotation"
        )
    for kind, (column, table) in _NAMED.items():
        lost = base.execute(_LOST.format(column=column, table=table)).fetchall()
        if lost:
            raise InvalidInputError(
                f"images {annotations} must list the {kind} of every annotation, and {table} lacks "
                f"{len(lost)}, such as {lost[0][0]!r}; add them, or remove their annotations"
            )
        twice = base.execute(_TWICE.format(table=table)).fetchone()
        if twice:
            raise InvalidInputError(
                f"images {annotations} must list every {kind} under an id of its own, and {table} "
                f"has several under {twice[0]!r}; number them anew"
            )


_NAMED: Final = {"image": ("image", "images"), "category": ("category", "categories")}
_LOST: Final = """
select distinct {column} from annotations
where {column} is null or {column} not in (select id from {table} where id is not null)
"""
_TWICE: Final = "select id from {table} group by id having count(*) > 1"

_COLUMNS: Final = {
    "categories": ("id", "name"),
    "images": ("id", "file_name"),
    "annotations": ("image_id", "category_id", "bbox", "segmentation"),
}
_IDS: Final = frozenset({"id", "image_id", "category_id"})
_OPTIONAL: Final = frozenset({"segmentation"})
_AS_JSON: Final = frozenset({"bbox", "segmentation"})
_WHOLE: Final = re.compile(r"0|-?[1-9][0-9]{0,17}")
"""A number as text that SQLite holds as a number."""


def _records(annotations: str, kind: str) -> Iterator[dict[str, Any]]:  # Any: JSON
    with open_file(annotations) as file:
        first_byte(file)  # goes past a byte order mark
        yield from ijson.items(file, f"{kind}.item", use_float=True)


def _values(record: dict[str, Any], columns: tuple[str, ...]) -> list[object]:
    found = [record.get(name) if name in _OPTIONAL else record[name] for name in columns]
    return [_stored(name, each) for name, each in zip(columns, found, strict=True)]


def _stored(name: str, value: Any) -> Any:  # Any: JSON, and what SQLite holds
    if name in _AS_JSON:
        return json.dumps(value)
    if name not in _IDS:
        if isinstance(value, str):
            return value
        raise TypeError(f"{name} must be text, got {value!r}")
    if isinstance(value, list | dict):
        raise TypeError(f"{name} must be a number or text, got {value!r}")
    quoted = isinstance(value, str) and _WHOLE.fullmatch(value)  # some tools quote some of them
    return int(value) if quoted else value


def _row(annotations: str, root: str | None, record: tuple[Any, ...]) -> ImageRow:
    image, file, category, boxes, outlines = record
    where = f"annotations {annotations}: image {image}"
    drawn = json.loads(outlines)
    return ImageRow(
        row_id=f"{image}/{category}",
        uri=beside(annotations, file, root),
        target=category,
        boxes=tuple(checked_box(box, where, may_be_flat=True) for box in json.loads(boxes)),
        outlines=outlines if all(drawn) else None,
    )
