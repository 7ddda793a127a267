"""Presets as files: the parameters that a sweep found best, and what they were chosen by."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xaiserve.errors import InvalidInputError
from xaiserve.storage.opening import read_uri


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetFile:
    """Parameters of a method, as `xaiserve tune` writes them.

    Parameters
    ----------
    parameters
        All of the method's, as JSON values.
    objective, value, low, high
        The metric that chose them, its mean over the sample and the 95 % interval.
    images, model_inputs
        Of the sample, and what it cost.
    sample, model
        Digests of the images' rows and of the model.
    """

    method: str
    version: int
    parameters: Mapping[str, Any]
    objective: str
    value: float
    low: float | None
    high: float | None
    images: int
    model_inputs: int
    sample: str
    model: str
    seed: int

    def to_json(self) -> bytes:
        """Write all fields; `from_json` reads them back."""
        return json.dumps(dataclasses.asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, *, name: str) -> "PresetFile":
        """Read what `to_json` wrote; ``name`` is the file's, for messages.

        Raises
        ------
        InvalidInputError
            It is something else.
        """
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError) as error:
            raise InvalidInputError(
                f"preset {name} must be a best.json of 'xaiserve tune': {error}"
            ) from error

    def texts(self) -> dict[str, str]:
        """Return the parameters as a command line takes them."""
        return {key: _text(value) for key, value in self.parameters.items()}


def filled(method: str, options: Mapping[str, str]) -> dict[str, str]:
    """Replace an option ``preset`` that names a file by what the file says.

    The names of a method's own presets stay; other options go before the file's.

    Raises
    ------
    InvalidInputError
        The file is no preset, or one of another method.
    NotFoundError
        There is no such file.
    """
    given = dict(options)
    source = given.get("preset", "")
    if not source.endswith(".json"):
        return given
    del given["preset"]
    found = PresetFile.from_json(read_uri(source), name=source)
    if found.method != method:
        raise InvalidInputError(
            f"preset {source} is for {found.method}, and the method is {method}; tune {method}, "
            "or leave the preset out"
        )
    return {**found.texts(), **given}


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
