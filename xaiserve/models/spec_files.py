"""Where a specification comes from: ``xaiserve.json``, else transformers' files, else others.

Every reader translates one file layout into the keys of ``xaiserve.json`` and leaves out what the
file does not say; `spec_from_json` then refuses what is missing. Nothing is guessed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from xaiserve.errors import InvalidInputError
from xaiserve.models.spec import ModelSpec
from xaiserve.models.spec_json import HOW_TO_STATE, spec_from_json
from xaiserve.models.spec_transformers import stated_by_transformers

XAISERVE_FILE: Final = "xaiserve.json"
TRANSFORMERS_FILES: Final = ("preprocessor_config.json", "config.json")
PREPROCESS_FILE: Final = "preprocess.json"

_PREPROCESS_KEYS: Final = (
    "input_name",
    "output_name",
    "layout",
    "color",
    "resize_shortest_edge",
    "resample",
    "center_crop",
    "rescale_factor",
    "image_mean",
    "image_std",
    "num_labels",
)
_EIGHT_BIT_TOP: Final = 255
_ACTIVATIONS: Final = {"logits": "softmax", "probabilities": "none"}


def read_spec(folder: Path, overrides: Mapping[str, object] | None = None) -> ModelSpec:
    """Read the specification of the model in ``folder``.

    Parameters
    ----------
    folder
        Where the weights lie.
    overrides
        Keys of ``xaiserve.json`` that replace or complete what the files state.

    Raises
    ------
    InvalidInputError
        No file states it, a file is not valid, or something is missing; the sentence names the
        file and the keys.
    """
    stated, origin = _stated(folder)
    if overrides:
        stated, origin = {**stated, **overrides}, f"{origin} with overrides"
    elif not stated:
        raise InvalidInputError(
            f"{folder} states no specification: give {XAISERVE_FILE}, "
            f"{' with '.join(TRANSFORMERS_FILES)} or {PREPROCESS_FILE} beside the weights"
        )
    return spec_from_json(stated, origin)


def spec_origin(folder: Path) -> str:
    """Name the file or files in ``folder`` that state the specification; empty when none does."""
    if (folder / XAISERVE_FILE).is_file():
        return XAISERVE_FILE
    if all((folder / file).is_file() for file in TRANSFORMERS_FILES):
        return " and ".join(TRANSFORMERS_FILES)
    return PREPROCESS_FILE if (folder / PREPROCESS_FILE).is_file() else ""


def _stated(folder: Path) -> tuple[dict[str, Any], str]:
    origin = spec_origin(folder)
    if origin == XAISERVE_FILE:
        return read_json(folder / XAISERVE_FILE), str(folder / XAISERVE_FILE)
    if origin == PREPROCESS_FILE:
        path = folder / PREPROCESS_FILE
        return _stated_by_preprocess(read_json(path), str(path)), str(path)
    if origin:
        preprocessor, config = (read_json(folder / file) for file in TRANSFORMERS_FILES)
        return stated_by_transformers(preprocessor, config, str(folder)), f"{origin} in {folder}"
    return {}, str(folder)


def read_json(path: Path) -> dict[str, Any]:  # Any: JSON
    """Read a JSON object.

    Raises
    ------
    InvalidInputError
        The file cannot be read, is not JSON, or holds something other than an object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidInputError(f"{path} must hold a JSON object, got {type(found).__name__}")
    return found


def _stated_by_preprocess(found: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Translate ``preprocess.json``; a class without a name is named by its index."""
    if unknown := [key for key in found if key not in _PREPROCESS_KEYS]:
        raise InvalidInputError(
            f"{unknown[0]!r} in {origin} is unknown; known keys are {', '.join(_PREPROCESS_KEYS)}"
        )
    for key, only in (("layout", "NCHW"), ("color", "RGB")):
        if found.get(key, only) != only:
            raise InvalidInputError(f"{key} in {origin} must be {only}, got {found[key]!r}")
    try:
        return _translated(found)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{origin}: {error}; {HOW_TO_STATE}") from error


def _translated(found: Mapping[str, Any]) -> dict[str, Any]:
    side = found.get("resize_shortest_edge")
    translated = {
        "height": found.get("center_crop"),
        "width": found.get("center_crop"),
        "channels": len(found["image_mean"]) if "image_mean" in found else None,
        "value_range": _value_range(found.get("rescale_factor")),
        "mean": found.get("image_mean"),
        "std": found.get("image_std"),
        "resize": None
        if side is None
        else {"mode": "shorter", "side_px": side, "resample": found.get("resample")},
        "labels": [str(index) for index in range(int(found.get("num_labels", 0)))] or None,
        "activation": _ACTIVATIONS.get(str(found.get("output_name"))),
    }
    return {key: value for key, value in translated.items() if value is not None}


def _value_range(factor: float | None) -> list[float] | None:
    # The factor applies to 8-bit values; rounding repairs 255 * (1 / 255).
    return None if factor is None else [0.0, round(_EIGHT_BIT_TOP * float(factor), 9)]
