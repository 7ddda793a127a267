"""From ``--images`` to one row per image: pictures, a manifest, COCO annotations."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import PurePosixPath

from xaiserve.errors import InvalidInputError
from xaiserve.storage.coco import coco_walk, is_coco
from xaiserve.storage.manifest import ImageRow, manifest_rows
from xaiserve.storage.manifest_formats import is_manifest
from xaiserve.storage.opening import list_pictures, open_store


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
            A manifest cannot be read or lacks a column, or a name is no text.
        """
        return map(_checked, self.walk())


def open_images(
    images: str,
    limit: int | None = None,
    *,
    root: str | None = None,
    folder_labels: bool = False,
) -> ImageList:
    """Open what ``images`` names; at most the first ``limit`` of its rows.

    A folder's names are listed once, here; a manifest is read on each walk.

    Parameters
    ----------
    root
        Where the relative paths of a manifest, or the pictures of COCO annotations, start; the
        folder that holds it when none.
    folder_labels
        The name of each picture's folder is its label.

    Raises
    ------
    InvalidInputError
        There is no picture, or an option does not go with what there is.
    ArtifactNotFoundError
        There is nothing of that name.
    """
    if is_manifest(images):
        if folder_labels:
            raise InvalidInputError(
                f"folder_labels goes with a folder of pictures; {images} has labels of its own"
            )
        walk = coco_walk(images, root) if is_coco(images) else partial(manifest_rows, images, root)
        return ImageList(images, lambda: islice(walk(), limit))
    if root is not None:
        raise InvalidInputError(
            f"images_root goes with a manifest or COCO annotations, got the pictures of {images}"
        )
    uris, home = list_pictures(images)[:limit], open_store(images).uri
    return ImageList(images, lambda: (_of_picture(uri, home, folder_labels) for uri in uris))


def expand(
    images: str,
    limit: int | None = None,
    *,
    root: str | None = None,
    folder_labels: bool = False,
) -> tuple[ImageRow, ...]:
    """List the images that ``images`` names, in order, at most ``limit``; see `open_images`.

    For inputs that fit into memory.

    Raises
    ------
    InvalidInputError
        There is no picture, or a manifest cannot be read, lacks a column or repeats an id.
    ArtifactNotFoundError
        There is nothing of that name.
    """
    walk = open_images(images, limit, root=root, folder_labels=folder_labels).rows()
    rows = tuple(walk)
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


def _checked(row: ImageRow) -> ImageRow:
    """Refuse what no table and no log can hold: bytes of a name, or escapes, that are no UTF-8."""
    optional = (row.target, row.mask, row.outlines, row.contrast)
    try:
        "".join((row.row_id, row.uri, *filter(None, optional), *row.feature_masks)).encode()
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"image {row.uri!r} with id {row.row_id!r} holds {error.object[error.start]!r}, which "
            "is no UTF-8 text; rename the file, or mend its row"
        ) from error
    return row


def _of_picture(uri: str, home: str, folder_labels: bool) -> ImageRow:
    name = uri.removeprefix(home).lstrip("/") or PurePosixPath(uri).name
    label = PurePosixPath(name).parent.name
    if folder_labels and not label:
        raise InvalidInputError(
            f"folder_labels takes each picture's label from its folder, and {name} lies in none; "
            "move it into a folder of its class"
        )
    return ImageRow(row_id=name, uri=uri, target=label if folder_labels else None)
