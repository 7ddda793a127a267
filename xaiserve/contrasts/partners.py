"""Files that belong to images by name: stored contrast pictures, masks."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from xaiserve.errors import InvalidInputError, StoreUnavailableError
from xaiserve.perturb.case import Case
from xaiserve.storage.images import expand
from xaiserve.storage.manifest import ImageRow
from xaiserve.storage.manifest_formats import is_manifest
from xaiserve.storage.opening import PICTURE_SUFFIXES, is_s3, list_pictures, open_store, read_uri
from xaiserve.storage.results import digest_of

Column = Literal["contrast", "mask"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partners:
    """One file for each image, found by the image's name.

    ``source`` is one of:

    * a picture: the file of the only image there is;
    * a folder or ``s3://`` prefix: the picture whose path in it, without its ending, is the image's
      name without its ending; for an image that is named without a folder, the file's name alone
      counts;
    * a manifest: the row whose id, or else the name of whose picture, is the image's name; the file
      is in its column, or is its picture where the manifest has no such column.

    Parameters
    ----------
    by_name
        Where the files are, by name without ending; several where a name is not unique.
    only
        The one file there is.
    """

    source: str
    by_name: Mapping[str, tuple[str, ...]]
    only: str | None = None

    @property
    def digest(self) -> str:
        """Sha256 of the list of files; their bytes are told by each picture."""
        return digest_of([self.source, {name: list(uris) for name, uris in self.by_name.items()}])

    def find(self, case: Case) -> str:
        """Return the address of the file that belongs to an image.

        Raises
        ------
        InvalidInputError
            There is none, or there are several.
        """
        if self.only is not None:
            return self.only
        key = without_ending(case.name)
        found = self.by_name.get(key, ())
        if len(found) == 1:
            return found[0]
        if found:
            raise InvalidInputError(
                f"image {case.name} has {len(found)} partners in {self.source}: {', '.join(found)}"
            )
        raise InvalidInputError(f"image {case.name} has no partner named {key!r} in {self.source}")


def find_partners(source: str, column: Column, *, images: int | None) -> Partners:
    """List the files that ``source`` holds.

    Parameters
    ----------
    column
        Of a manifest.
    images
        How many images will ask; none when nobody knows.

    Raises
    ------
    InvalidInputError
        ``source`` holds no picture, or is one picture for more than one image.
    ArtifactNotFoundError, StoreUnavailableError
        It is not there, or cannot be read.
    """
    if is_manifest(source):
        return Partners(source=source, by_name=_grouped(expand(source), _names, _taken(column)))
    uris = list_pictures(source)
    root = open_store(source).uri
    if len(uris) == 1 and not uris[0].startswith(f"{root}/"):
        if images != 1:
            told = "many" if images is None else str(images)
            raise InvalidInputError(
                f"{source} is one picture, for one image, and there are {told}: name a folder or a "
                f"manifest with a {column} for each"
            )
        return Partners(source=source, by_name={}, only=uris[0])
    rows = [ImageRow(row_id=uri.removeprefix(f"{root}/"), uri=uri) for uri in uris]
    return Partners(source=source, by_name=_grouped(rows, _names_in_folder, lambda row: row.uri))


def _grouped(
    rows: "tuple[ImageRow, ...] | list[ImageRow]",
    names: Callable[[ImageRow], set[str]],
    taken: Callable[[ImageRow], str],
) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for name in names(row):
            found[name].append(taken(row))
    return {name: tuple(uris) for name, uris in found.items()}


def _names_in_folder(row: ImageRow) -> set[str]:
    return {without_ending(row.row_id), without_ending(PurePosixPath(row.uri).name)}


def _names(row: ImageRow) -> set[str]:
    return {row.row_id, without_ending(row.row_id), without_ending(PurePosixPath(row.uri).name)}


def _taken(column: Column) -> Callable[[ImageRow], str]:
    return lambda row: getattr(row, column) or row.uri


def without_ending(name: str) -> str:
    """Drop the ending of a picture's name, and no other."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in PICTURE_SUFFIXES else name


def read_partner(uri: str) -> bytes:
    """Read one file; a local one that cannot be read is that image's fault alone.

    Raises
    ------
    InvalidInputError, ArtifactNotFoundError, StoreUnavailableError
        As `read_uri`.
    """
    try:
        return read_uri(uri)
    except StoreUnavailableError as error:
        if is_s3(uri):
            raise
        raise InvalidInputError(str(error)) from error
