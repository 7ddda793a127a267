"""From ``--images`` to one row per image: a picture, a folder, a prefix or a manifest."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Final

from xaiserve.errors import InvalidInputError
from xaiserve.storage.manifest_formats import Record, is_manifest, records_in
from xaiserve.storage.opening import list_pictures, open_file, open_store

SQUARES: Final = 49
"""Of the 7 x 7 grid on which features are found (`metrics.grid_pointing`)."""

_URI: Final = ("uri", "image", "path")
_ID: Final = ("id", "row_id")
_TARGET: Final = ("target", "label")
_MASK: Final = ("mask", "mask_uri")
_FEATURE_MASKS: Final = ("feature_masks", "feature_mask_uris")
_FEATURE_SQUARES: Final = ("feature_squares",)
_CONTRAST: Final = ("contrast", "contrast_uri")
"""Names of a manifest's columns, the first that is there counts."""


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
    contrast: str | None = None
    feature_masks: tuple[str, ...] = ()
    feature_squares: tuple[tuple[int, ...], ...] = ()

    @property
    def has_truth(self) -> bool:
        """Say whether there is something to compare an explanation with."""
        return self.mask is not None


@dataclass(frozen=True, slots=True)
class ImageList:
    """The images of an input, gone through as often as one likes and held nowhere.

    Parameters
    ----------
    images
        What it was opened from.
    walk
        Starts at the first row again, each time.
    """

    images: str
    walk: Callable[[], Iterator[ImageRow]]

    def rows(self) -> Iterator[ImageRow]:
        """Yield the rows in order.

        Raises
        ------
        InvalidInputError
            A manifest cannot be read or lacks a column.
        """
        return self.walk()


def open_images(images: str, limit: int | None = None) -> ImageList:
    """Open what ``images`` names; at most the first ``limit`` of its rows.

    A folder's names are listed once, here; a manifest is read on each walk.

    Raises
    ------
    InvalidInputError
        There is no picture.
    ArtifactNotFoundError
        There is nothing of that name.
    """
    if is_manifest(images):
        open_file(images).close()
        return ImageList(images, lambda: islice(_from_manifest(images), limit))
    uris, root = list_pictures(images)[:limit], open_store(images).uri
    return ImageList(images, lambda: (_of_picture(uri, root) for uri in uris))


def expand(images: str, limit: int | None = None) -> tuple[ImageRow, ...]:
    """List the images that ``images`` names, in order, at most ``limit``.

    For inputs that fit into memory; see `open_images` for others.

    Raises
    ------
    InvalidInputError
        There is no picture, or a manifest cannot be read, lacks a column or repeats an id.
    ArtifactNotFoundError
        There is nothing of that name.
    """
    rows = tuple(open_images(images, limit).rows())
    if not rows:
        raise no_image(images)
    seen: dict[str, int] = {}
    for number, row in enumerate(rows):
        first = seen.setdefault(row.row_id, number)
        if first != number:
            raise repeated_id(images, row.row_id, first, number)
    return rows


def no_image(images: str) -> InvalidInputError:
    """Say that an input has no row."""
    return InvalidInputError(f"manifest {images} lists no image")


def repeated_id(images: str, row_id: str, first: int, second: int) -> InvalidInputError:
    """Say that two rows have one id."""
    return InvalidInputError(
        f"manifest {images}: id {row_id!r} names rows {first} and {second}; ids must be unique"
    )


def _of_picture(uri: str, root: str) -> ImageRow:
    name = uri.removeprefix(root).lstrip("/") or PurePosixPath(uri).name
    return ImageRow(row_id=name, uri=uri)


def _from_manifest(uri: str) -> Iterator[ImageRow]:
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
            yield _row(uri, number, record)
            number += 1


def _row(manifest: str, number: int, record: Record) -> ImageRow:
    image = _first(record, _URI)
    if image is None:
        raise InvalidInputError(
            f"manifest {manifest}: row {number} has no column {' or '.join(map(repr, _URI))}"
        )
    mask, contrast = _first(record, _MASK), _first(record, _CONTRAST)
    return ImageRow(
        row_id=_first(record, _ID) or f"{number:06d}",
        uri=_beside(manifest, image),
        target=_first(record, _TARGET),
        mask=None if mask is None else _beside(manifest, mask),
        feature_masks=tuple(_beside(manifest, each) for each in _feature_masks(record)),
        feature_squares=_feature_squares(record, f"manifest {manifest}: row {number}"),
        contrast=None if contrast is None else _beside(manifest, contrast),
    )


def _feature_masks(record: Mapping[str, Any]) -> Sequence[str]:
    """Read masks joined by semicolons, as generated data sets have them, or in a list."""
    found = next((record[name] for name in _FEATURE_MASKS if _holds(record.get(name))), "")
    return [each for each in (found.split(";") if isinstance(found, str) else found) if each]


def _feature_squares(record: Mapping[str, Any], where: str) -> tuple[tuple[int, ...], ...]:
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
    return not (value is None or isinstance(value, float) or len(value) == 0)


def _first(record: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return the first of the columns that holds something, as text."""
    for name in names:
        value = record.get(name)
        if value is None or value == "" or value != value:  # noqa: PLR0124 -- pandas' empty cell is NaN
            continue
        whole = isinstance(value, float) and value.is_integer()
        return str(int(value) if whole else value)
    return None


def _beside(manifest: str, uri: str) -> str:
    """Resolve ``uri`` against the folder of ``manifest``; absolute ones stay as they are."""
    if "://" in uri or uri.startswith("/"):
        return uri
    # Workers have other working folders than the driver.
    home = manifest if "://" in manifest else str(Path(manifest).absolute())
    return f"{home.rpartition('/')[0]}/{uri}"
