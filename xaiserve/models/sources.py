"""What a model's source names: a file, a folder of several formats, a hub id or a factory."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from xaiserve.errors import InvalidInputError, NotFoundError, UntrustedModelError
from xaiserve.models.onnx_classifier import external_files
from xaiserve.models.spec_files import read_json
from xaiserve.models.state_dict_classifier import ARCHITECTURE_FILE, FACTORY_NAME, embedded_folder

Format = Literal["onnx", "safetensors", "pt2", "factory"]

CONFIG_FILE: Final = "config.json"
EMBEDDED: Final = "embedded"
SAFE_FORMATS: Final = "ONNX (.onnx) or safetensors with transformers' config.json"

_SUFFIXES: Final[dict[str, Format]] = {
    ".onnx": "onnx",
    ".safetensors": "safetensors",
    ".pt2": "pt2",
}
_PICKLED: Final = frozenset({".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".joblib"})
_HUB_ID: Final = re.compile(r"\w[\w.-]*/[\w.-]+(@[\w./-]+)?")
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The model files of one folder, by format.

    Parameters
    ----------
    folder
        Where they lie; its JSON files state the specification.
    weights
        Per format the file that holds the model (for safetensors: all shards, sorted).
    named
        The format of the file that the source named; none when it named the folder.
    pickled
        Checkpoints that are never loaded.
    """

    folder: Path
    weights: dict[Format, tuple[Path, ...]]
    named: Format | None = None
    pickled: tuple[Path, ...] = ()

    @property
    def names_architecture(self) -> bool:
        """Whether a file beside the safetensors says what network they belong to."""
        config = self.folder / CONFIG_FILE
        return self.has_factory or (config.is_file() and "model_type" in read_json(config))

    @property
    def has_factory(self) -> bool:
        """Whether that file names a factory, not an architecture of transformers."""
        return (self.folder / ARCHITECTURE_FILE).is_file()

    @property
    def formats(self) -> tuple[Format, ...]:
        """The formats that can be loaded, best for scores first."""
        order: tuple[Format, ...] = ("onnx", "safetensors", "pt2")
        return tuple(
            kind
            for kind in order
            if kind in self.weights and (kind != "safetensors" or self.names_architecture)
        )

    def files(self, kind: Format) -> tuple[Path, ...]:
        """List every file whose bytes decide the scores in that format."""
        found = self.weights[kind]
        if kind == "onnx":
            return (*found, *external_files(found[0]))
        if kind == "safetensors":
            return (*found, self.folder / (ARCHITECTURE_FILE if self.has_factory else CONFIG_FILE))
        return found


def is_factory(source: str | Path) -> bool:
    """Tell ``package.module:factory`` from a path and a hub id."""
    return isinstance(source, str) and FACTORY_NAME.fullmatch(source) is not None


def is_hub_id(source: str | Path) -> bool:
    """Tell ``owner/name`` or ``owner/name@revision`` from a path that exists here."""
    return (
        isinstance(source, str)
        and _HUB_ID.fullmatch(source) is not None
        and not Path(source).exists()
        and Path(source).suffix not in {*_SUFFIXES, *_PICKLED}
    )


def find_model(source: str | Path) -> ModelFiles:
    """Find the model files that a path names: a folder, one file in it, or ``embedded``.

    Raises
    ------
    NotFoundError
        There is nothing at that path.
    UntrustedModelError
        The file is, or the folder only holds, pickled checkpoints.
    InvalidInputError
        The file has no suffix we read, the folder holds no model, or several of one format.
    """
    path = embedded_folder() if source == EMBEDDED else Path(source)
    if path.is_dir():
        return _in_folder(path)
    if not path.is_file():
        raise NotFoundError(
            f"model {str(source)!r} does not exist: give a folder, a file "
            f"({', '.join(_SUFFIXES)}), an address http://HOST/v2/models/NAME, a hub id "
            f"owner/name, a factory package.module:name, or {EMBEDDED!r}"
        )
    if path.suffix in _PICKLED:
        raise _pickled(path)
    if path.suffix not in _SUFFIXES:
        raise InvalidInputError(
            f"model {path} must be a file of type {', '.join(_SUFFIXES)}, got {path.suffix!r}"
        )
    return _beside(path)


def _beside(path: Path) -> ModelFiles:
    """List the named file, and of the other formats what is unambiguous: gradients may need it."""
    kind = _SUFFIXES[path.suffix]
    weights: dict[Format, tuple[Path, ...]] = {kind: (path,)}
    for suffix, other in _SUFFIXES.items():
        found = tuple(sorted(path.parent.glob(f"*{suffix}")))
        if other != kind and len(found) == 1:
            weights[other] = found
    return ModelFiles(folder=path.parent, weights=weights, named=kind)


def _in_folder(folder: Path) -> ModelFiles:
    present = sorted(path for path in folder.iterdir() if path.is_file())
    pickled = tuple(path for path in present if path.suffix in _PICKLED)
    weights: dict[Format, tuple[Path, ...]] = {}
    for suffix, kind in _SUFFIXES.items():
        found = tuple(path for path in present if path.suffix == suffix)
        if found:
            weights[kind] = found if kind == "safetensors" else (_the_one(found, folder),)
    if weights:
        return ModelFiles(folder=folder, weights=weights, pickled=pickled)
    if pickled:
        raise _pickled(pickled[0])
    raise InvalidInputError(f"{folder} holds no model: expected a file of {', '.join(_SUFFIXES)}")


def _the_one(found: Sequence[Path], folder: Path) -> Path:
    """Choose among files of one format: the only one, or the one named ``model``."""
    named = [path for path in found if path.stem == "model"]
    if len(found) == 1 or named:
        return (named or found)[0]
    raise InvalidInputError(
        f"{folder} holds several {found[0].suffix} files; name one of "
        + ", ".join(path.name for path in found)
    )


def _pickled(path: Path) -> UntrustedModelError:
    return UntrustedModelError(
        f"{path} is a pickled checkpoint, and reading one runs code that came with it; it is never "
        f"loaded: convert it to {SAFE_FORMATS}, or build the network in a factory "
        "package.module:name"
    )


def digest_files(paths: Sequence[Path], *more: bytes) -> str:
    """Sha256 over the bytes of files, in order, and then over ``more``."""
    seen = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                seen.update(chunk)
    for part in more:
        seen.update(part)
    return seen.hexdigest()
