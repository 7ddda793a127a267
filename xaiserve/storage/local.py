"""Objects as files under a folder."""

import errno
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from xaiserve.errors import (
    ArtifactNotFoundError,
    ConflictError,
    InvalidInputError,
    StoreUnavailableError,
)
from xaiserve.storage.objects import Stored, check_key

_TEMPORARY: Final = ".tmp-"


class LocalStore:
    """Objects as files; a file appears under its name whole or not at all.

    Parameters
    ----------
    root
        The folder; made by the first write.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def uri(self) -> str:
        return str(self._root)

    def read(self, key: str) -> bytes:
        with self._explained(key):
            return self._path(key).read_bytes()

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self._explained(key), self._path(key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        path = self._path(key)
        _make_folder(path.parent)
        with self._explained(key):
            temporary = _flushed(path.parent, data)
            try:
                if create_only:
                    os.link(temporary, path)  # unlike a rename, fails if the name is taken
                else:
                    temporary.replace(path)
            except FileExistsError:
                raise ConflictError(f"{self.uri}/{key} exists already") from None
            finally:
                temporary.unlink(missing_ok=True)
            with suppress(FileNotFoundError):  # somebody has removed the object already
                _flush_folder(path.parent)

    def remove(self, key: str) -> None:
        with self._explained(key):
            path = self._path(key)
            path.unlink()
            if path.parent != self._root:
                with suppress(OSError):  # others are in it
                    path.parent.rmdir()

    def list(self, prefix: str = "") -> Sequence[str]:
        return sorted(key for key, _ in self._found(prefix))

    def describe(self, prefix: str = "") -> Sequence[Stored]:
        described = []
        for key, path in sorted(self._found(prefix)):
            with suppress(FileNotFoundError):  # removed since it was listed
                found = path.stat()
                described.append(Stored(key, found.st_size, found.st_mtime))
        return described

    def size(self, key: str) -> int:
        path = self._path(key)
        with self._explained(key):
            if path.is_dir():
                raise IsADirectoryError
            return path.stat().st_size

    def tidy(self, prefix: str) -> None:
        top = self._root / prefix.rpartition("/")[0]
        for place, _, _ in os.walk(top, topdown=False):
            if Path(place) != self._root:
                with suppress(OSError):  # others are in it, or have removed it
                    Path(place).rmdir()

    def _found(self, prefix: str) -> Iterator[tuple[str, Path]]:
        with self._explained(prefix):
            for path in _files(self._root / prefix.rpartition("/")[0]):
                key = path.relative_to(self._root).as_posix()
                if key.startswith(prefix):
                    yield key, path

    def _path(self, key: str) -> Path:
        if check_key(key).rpartition("/")[2].startswith(_TEMPORARY):
            raise InvalidInputError(f"key must not name a file {_TEMPORARY}*, got {key!r}")
        return self._root / key

    @contextmanager
    def _explained(self, key: str) -> Iterator[None]:
        """Say what the operating system's error means for the object."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise ArtifactNotFoundError(f"{self.uri}/{key} does not exist") from error
        except OSError as error:
            raise StoreUnavailableError(
                f"{self.uri}/{key} cannot be used: {error.strerror}; check the folder's "
                "permissions and free space"
            ) from error


def files_below(folder: Path) -> list[str]:
    """List the files of an input folder, by their path in it, sorted; none when it is no folder.

    Unlike a store's list it follows links to folders, except where one leads back to a folder that
    it lies in, and leaves out hidden folders.

    Raises
    ------
    StoreUnavailableError
        A folder cannot be read.
    """
    found: list[str] = []
    for place, folders, names in os.walk(folder, onerror=_unreadable, followlinks=True):
        folders[:] = [each for each in folders if _is_entered(Path(place, each))]
        found += [Path(place, name).relative_to(folder).as_posix() for name in names]
    return sorted(found)


def _is_entered(folder: Path) -> bool:
    if folder.name.startswith("."):
        return False
    if not folder.is_symlink():
        return True
    # Every circle has a link that leads above one of the folders through which it was come to.
    end = folder.resolve()
    return not any(above.resolve().is_relative_to(end) for above in folder.absolute().parents)


def _unreadable(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise StoreUnavailableError(
            f"folder {error.filename} cannot be read: {error.strerror}; allow it, or move the "
            "folder elsewhere"
        ) from error


def _make_folder(folder: Path) -> None:
    try:
        _ensure_folder(folder)
    except OSError as error:
        raise StoreUnavailableError(
            f"folder {folder} cannot be made: {error.strerror}; name another place, or check its "
            "permissions and free space"
        ) from error


def _ensure_folder(folder: Path) -> None:
    """Make a folder, if others do not tidy it away meanwhile: who writes into it tries again."""
    with suppress(FileNotFoundError):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError:  # said, too, of a folder that is gone when Python looks at it
            if folder.is_file():
                raise


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names if not name.startswith(_TEMPORARY))


def _flushed(folder: Path, data: bytes) -> Path:
    """Write a temporary file that survives a power cut once it is renamed."""
    handle, name = _temporary(folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(handle, 0o644)  # mkstemp's 0600 would hide results from one's colleagues
            os.fsync(handle)
    except BaseException:
        Path(name).unlink()
        raise
    return Path(name)


def _temporary(folder: Path) -> tuple[int, str]:
    """Open one, in a folder that whoever removes its last file removes as well."""
    for _ in range(10):
        with suppress(FileNotFoundError):
            _ensure_folder(folder)
            return tempfile.mkstemp(prefix=_TEMPORARY, dir=folder)
    raise FileNotFoundError(errno.ENOENT, "the folder is removed again and again", str(folder))


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
