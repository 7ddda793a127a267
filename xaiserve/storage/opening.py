"""From an address to a store, and to the bytes and pictures behind it."""

import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import unquote, urlsplit

from xaiserve.errors import ArtifactNotFoundError, InvalidInputError, StoreUnavailableError
from xaiserve.storage.local import LocalStore, files_below
from xaiserve.storage.object_file import buffered
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.retry import Retrying
from xaiserve.storage.s3 import S3Store, s3_client

PICTURE_SUFFIXES: Final = frozenset(
    {".jpg", ".jpeg", ".png", ".gif", ".bmp", ".tif", ".tiff", ".webp"}
)
"""What `list_pictures` takes from a folder; case does not matter."""


def open_store(uri: str | Path, *, endpoint: str | None = None) -> ObjectStore:
    """Open the store rooted at an address; nothing is asked of it yet.

    Parameters
    ----------
    uri
        A path, ``file:///path`` or ``s3://bucket/prefix``.
    endpoint
        Address of an S3 server other than Amazon's, such as ``http://localhost:9000``.

    Raises
    ------
    InvalidInputError
        Another kind of address, or one without a bucket.
    """
    if is_s3(uri):
        bucket, prefix = _bucket_and_key(str(uri))
        return Retrying(S3Store(s3_client(endpoint), bucket, prefix))
    return LocalStore(_local_path(uri))


def read_uri(uri: str | Path, *, endpoint: str | None = None) -> bytes:
    """Read one object or file, whole.

    Raises
    ------
    ArtifactNotFoundError
        It does not exist.
    InvalidInputError, StoreUnavailableError, NotFoundError
        As `open_store` and `ObjectStore`.
    """
    store, name = _parent(uri, endpoint)
    return store.read(name)


def open_file(uri: str | Path, *, endpoint: str | None = None) -> io.BufferedReader:
    """Open one object or file for reading piece by piece.

    Raises
    ------
    ArtifactNotFoundError, InvalidInputError, StoreUnavailableError, NotFoundError
        As `read_uri`.
    """
    return buffered(*_parent(uri, endpoint))


def list_pictures(uri: str | Path, *, endpoint: str | None = None) -> tuple[str, ...]:
    """List the pictures in a folder and its subfolders, or under an S3 prefix, sorted.

    Links to local folders are followed. What is hidden below it, by a dot before its name or a
    folder's, is left out. An address of a single file gives that file, whatever its name. Local
    pictures come as absolute paths, those in S3 as ``s3://`` addresses.

    Raises
    ------
    ArtifactNotFoundError
        There is neither a file nor a folder of that name.
    InvalidInputError
        A folder without pictures, or without anything, or a link in it that leads nowhere.
    StoreUnavailableError
        A folder cannot be read, or a link not be followed.
    """
    folder = open_store(uri, endpoint=endpoint)
    keys = folder.list() if is_s3(uri) else files_below(_local_path(uri))
    if not keys and not is_s3(uri) and _local_path(uri).is_dir():
        raise InvalidInputError(
            f"images must name a folder with pictures, got {uri}, which is empty but for "
            "what may be hidden"
        )
    if not keys:
        store, name = _parent(uri, endpoint)
        store.size(name)  # raises when it is no file either
        return (f"{store.uri}/{name}",)
    found = [key for key in keys if _is_picture(key)]
    if not is_s3(uri):
        _check_links(_local_path(uri), keys)
    if not found:
        raise InvalidInputError(
            f"images must name a folder with pictures ({', '.join(sorted(PICTURE_SUFFIXES))}), "
            f"got {uri} with {len(keys)} other files"
        )
    return tuple(f"{folder.uri}/{key}" for key in found)


def is_s3(uri: str | Path) -> bool:
    """Say whether an address names a bucket rather than a place on this machine."""
    return str(uri).startswith("s3://")


def _check_links(folder: Path, keys: Sequence[str]) -> None:
    """Refuse a link to what may have been a folder of pictures; that to a picture fails alone."""
    for key in keys:
        path = folder / key
        counts = not (_is_picture(key) or path.name.startswith("."))
        if counts and path.is_symlink() and not _is_there(path):
            raise InvalidInputError(
                f"link {path} leads to {path.readlink()}, where nothing is; mend or remove it"
            )


def _is_there(link: Path) -> bool:
    try:
        return link.exists()
    except OSError as error:
        raise StoreUnavailableError(
            f"link {link} to {link.readlink()} cannot be followed: {error.strerror}; allow it, or "
            "remove the link"
        ) from error


def _is_picture(key: str) -> bool:
    path = PurePosixPath(key)
    hidden = any(part.startswith(".") for part in path.parts)
    return path.suffix.lower() in PICTURE_SUFFIXES and not hidden


def _parent(uri: str | Path, endpoint: str | None) -> tuple[ObjectStore, str]:
    """Split an address into the store that holds it and its name there."""
    if is_s3(uri):
        bucket, key = _bucket_and_key(str(uri))
        if not key:
            raise ArtifactNotFoundError(f"{uri} names a bucket and no object in it")
        # Not by `open_store`: the folder of a//b.png is a/, with a slash of its own.
        above, _, name = key.rpartition("/")
        return Retrying(S3Store(s3_client(endpoint), bucket, above)), name
    path = _local_path(uri).absolute()
    if not path.name:
        raise ArtifactNotFoundError(f"{uri} names a folder and no file in it")
    return LocalStore(path.parent), path.name


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise InvalidInputError(f"address must be s3://bucket/prefix, got {uri}")
    return bucket, key.strip("/")


def _local_path(uri: str | Path) -> Path:
    if isinstance(uri, Path):
        return uri
    parts = urlsplit(uri)
    if "://" not in uri:
        return Path(uri)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise InvalidInputError(
            f"address must be a path, file:///path or s3://bucket/prefix, got {uri}"
        )
    return Path(unquote(parts.path))
