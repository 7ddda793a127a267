"""Exports of torch modules, kept on disk between processes."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path


def default_cache_folder() -> Path:
    """Name the folder, in the user's home, of what can be made again."""
    return Path.home() / ".cache" / "xaiserve"


@dataclass(frozen=True, slots=True)
class ExportCache:
    """Files named by the digest of their key; a file is complete as soon as it is seen.

    Readers compare what they get with the model itself, so a damaged file costs time, never a
    wrong score.
    """

    folder: Path

    def path(self, key: str) -> Path:
        return self.folder / "exports" / f"{hashlib.sha256(key.encode()).hexdigest()}.onnx"

    def read(self, key: str) -> bytes | None:
        """Return the kept export; none when there is none."""
        path = self.path(key)
        return path.read_bytes() if path.is_file() else None

    def keep(self, key: str, export: bytes) -> None:
        """Write the export, replacing an older one in one step.

        Raises
        ------
        OSError
            The folder cannot be written.
        """
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as file:
            file.write(export)
        Path(file.name).replace(path)
