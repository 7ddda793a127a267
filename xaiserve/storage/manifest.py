"""`ImageRow`: one image of a job's input; and the rows of a manifest, one after the other."""

import json
import math
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from xaiserve.errors import InvalidInputError
from xaiserve.storage.manifest_formats import Record, records_in
from xaiserve.storage.opening import is_s3, open_file

SQUARES: Final = 49
"""Of the 7 x 7 grid on which features are found (`metrics.grid_pointing`)."""

_URI: Final = ("uri", "image", "path")
_ID: Final = ("id", "row_id")
_TARGET: Final = ("target", "label")
_MASK: Final = ("mask", "mask_uri")
_BOXES: Final = ("boxes", "bboxes", "bbox")
_OUTLINES: Final = ("outlines", "segmentations")
_FEATURE_MASKS: Final = ("feature_masks", "feature_mask_uris")
_FEATURE_SQUARES: Final = ("feature_squares",)
_CONTRAST: Final = ("contrast", "contrast_uri")
"""Names of a manifest's columns, the first that is there counts."""


Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """One image of the input; two rows may name the same file.

    Parameters
    ----------
    row_id
        Unique in the input: the manifest's ``id``, or the row's number, or the path in the folder.
    uri
        Where the bytes are.
    target
        Class index or label to explain; the top class when none.
    mask
        Where the ground truth is: a picture of the image's size, not 0 in the region.
    boxes
        The ground truth as boxes in pixels of the picture, [x, y, width, height] each.
    outlines
        The ground truth as a JSON list of COCO segmentations: polygons or run lengths.
    contrast
        Where the same image is as it would look in another class.
    feature_masks
        One such picture per feature of the ground truth.
    feature_squares
        The squares of the image's 7 x 7 grid that each feature touches, numbered row * 7 + column;
        goes before ``feature_masks``.
    """

    row_id: str
    uri: str
    target: str | None = None
    mask: str | None = None
    boxes: tuple[Box, ...] = ()
    outlines: str | None = None
    contrast: str | None = None
    feature_masks: tuple[str, ...] = ()
    feature_squares: tuple[tuple[int, ...], ...] = ()

    @property
    def has_truth(self) -> bool:
        """Say whether there is something to compare an explanation with."""
        return bool(self.mask or self.outlines or self.boxes)


def manifest_rows(uri: str, root: str | None = None) -> Iterator[ImageRow]:
    """Yield the rows of a manifest; relative paths start at ``root``, or else at its folder.

    Raises
    ------
    InvalidInputError
        It cannot be read, or a row lacks a column or holds nonsense.
    """
    with open_file(uri) as file:
        records = records_in(uri, file)
        number = 0
        while True:
            try:
                record = next(records, None)
            except ValueError as error:
                raise InvalidInputError(f"manifest {uri} cannot be read: {error}") from error
            if record is None:
                return
            yield _row(uri, root, number, record)
            number += 1


def _row(manifest: str, root: str | None, number: int, record: Record) -> ImageRow:
    image = _first(record, _URI)
    if image is None:
        raise InvalidInputError(
            f"manifest {manifest}: row {number} has no column {' or '.join(map(repr, _URI))}"
        )
    where = f"manifest {manifest}: row {number}"
    mask, contrast = _first(record, _MASK), _first(record, _CONTRAST)

    place = partial(beside, manifest, root=root)
    return ImageRow(
        row_id=_first(record, _ID) or f"{number:06d}",
        uri=place(image),
        target=_first(record, _TARGET),
        mask=None if mask is None else place(mask),
        boxes=_boxes(record, where),
        outlines=_outlines(record, where),
        feature_masks=tuple(map(place, _feature_masks(record))),
        feature_squares=_feature_squares(record, where),
        contrast=None if contrast is None else place(contrast),
    )


def _boxes(record: Record, where: str) -> tuple[Box, ...]:
    """Read a list of boxes, or its JSON text.

    Raises
    ------
    InvalidInputError
        It is none, or a box has no area.
    """
    found = next((record[name] for name in _BOXES if _holds(record.get(name))), ())
    try:
        listed = json.loads(found) if isinstance(found, str) else found
        boxes = tuple([float(number) for number in box] for box in listed)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(_not_boxes(where, found)) from error
    return tuple(checked_box(box, where) for box in boxes)


def checked_box(box: Any, where: str, *, may_be_flat: bool = False) -> Box:  # Any: JSON
    """Return a box as it is stored.

    Parameters
    ----------
    may_be_flat
        Width or height may be 0.

    Raises
    ------
    InvalidInputError
        It is not four numbers, or has no area.
    """
    try:
        x, y, width, height = map(float, box)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(_not_boxes(where, box)) from error
    least = min(width, height)
    finite = all(map(math.isfinite, (x, y, width, height)))
    if not finite or least < 0 or (least == 0 and not may_be_flat):
        raise InvalidInputError(_not_boxes(where, box))
    return (x, y, width, height)


def _not_boxes(where: str, found: object) -> str:
    return (
        f"{where}: boxes must list [x, y, width, height] in pixels of the picture, such as "
        f"[[10, 20, 30, 40]], got {found!r}"
    )


def _outlines(record: Record, where: str) -> str | None:
    """Read a list of segmentations as JSON text, or such text as it is.

    Raises
    ------
    InvalidInputError
        It holds what JSON cannot.
    """
    found = next((record[name] for name in _OUTLINES if _holds(record.get(name))), None)
    if found is None or isinstance(found, str):
        return found
    try:
        return json.dumps(found)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"{where}: outlines must list COCO segmentations, polygons or run lengths: {error}"
        ) from error


def _feature_masks(record: Record) -> Sequence[str]:
    """Read masks joined by semicolons, as generated data sets have them, or in a list."""
    found = next((record[name] for name in _FEATURE_MASKS if _holds(record.get(name))), "")
    return [each for each in (found.split(";") if isinstance(found, str) else found) if each]


def _feature_squares(record: Record, where: str) -> tuple[tuple[int, ...], ...]:
    """Read a list of lists of squares, or its JSON text.

    Raises
    ------
    InvalidInputError
        It is none, a feature has no square, or a square lies outside the grid.
    """
    found = next((record[name] for name in _FEATURE_SQUARES if _holds(record.get(name))), ())
    try:
        listed = json.loads(found) if isinstance(found, str) else found
        features = tuple(tuple(int(square) for square in feature) for feature in listed)
    except (TypeError, ValueError):
        features = ((),)
    if not all(each and set(each) <= set(range(SQUARES)) for each in features):
        raise InvalidInputError(
            f"{where}: feature_squares must list, per feature, squares from 0 to {SQUARES - 1}, "
            f"such as [[24],[3,4,10]], got {found!r}"
        )
    return features


def _holds(value: Any) -> bool:
    """Say whether a cell holds something: pandas' empty cell is NaN, and arrays have no truth."""
    empty = isinstance(value, Sized) and len(value) == 0
    return not (value is None or isinstance(value, float) or empty)


def _first(record: Record, names: Sequence[str]) -> str | None:
    """Return the first of the columns that holds something, as text."""
    for name in names:
        value = record.get(name)
        if value is None or value == "" or value != value:  # noqa: PLR0124 -- pandas' empty cell is NaN
            continue
        whole = isinstance(value, float) and value.is_integer()
        return str(int(value) if whole else value)
    return None


def beside(manifest: str, uri: str, root: str | None = None) -> str:
    """Resolve ``uri`` against ``root``, or the folder of ``manifest``; absolute ones stay.

    Raises
    ------
    InvalidInputError
        It leads out of its bucket.
    """
    if "://" in uri or uri.startswith("/"):
        return uri
    # Absolute: workers have other working folders than the driver.
    listed = manifest if "://" in manifest else str(Path(manifest).absolute())
    home = listed.rpartition("/")[0] if root is None else root.rstrip("/")
    return _in_bucket(home, uri) if is_s3(home) else f"{home}/{uri}"


def _in_bucket(home: str, uri: str) -> str:
    """Resolve the dots that a relative path begins with: buckets take them for names."""
    above, names = home, uri.split("/")
    while names and names[0] in {".", ".."}:
        if names.pop(0) == "..":
            above = above.rpartition("/")[0]
    if not is_s3(above):
        raise InvalidInputError(f"{uri} leads out of the bucket of {home}")
    return "/".join([above, *names])
