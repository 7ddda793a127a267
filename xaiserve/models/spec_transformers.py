"""A specification out of transformers' ``preprocessor_config.json`` and ``config.json``."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from xaiserve.errors import InvalidInputError
from xaiserve.models.spec_json import HOW_TO_STATE

_EIGHT_BIT_TOP: Final = 255
_FILTERS: Final = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box"}
"""Pillow's numbers of the filters, which the preprocessor's file stores."""

_CROP_PCT_EXACT_FROM: Final = 384
"""From this size on, processors with ``crop_pct`` (ConvNeXt, ResNet) scale without cropping."""

_Stated = Mapping[str, Any]  # JSON


def stated_by_transformers(preprocessor: _Stated, config: _Stated, where: str) -> dict[str, Any]:
    """Translate the two files into the keys of ``xaiserve.json``.

    A key that neither file states is left out: the processor classes of transformers have
    defaults of their own, which differ between classes and versions.

    Raises
    ------
    InvalidInputError
        A value cannot be understood or cannot be expressed, such as a resize without a crop to
        one size.
    """
    translated: dict[str, Any] = {}
    readers: tuple[Callable[[_Stated, _Stated], _Stated], ...] = (
        _geometry,
        _normalisation,
        _classes,
        _decision,
    )
    try:
        for reader in readers:
            translated |= reader(preprocessor, config)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise InvalidInputError(
            f"preprocessor_config.json and config.json in {where}: {error}; {HOW_TO_STATE}"
        ) from error
    return {key: value for key, value in translated.items() if value is not None}


def _geometry(preprocessor: _Stated, _: _Stated) -> _Stated:
    if not preprocessor.get("do_resize", True):
        return {}  # The picture's own size is no fixed size.
    resize, size = (_by_crop_pct if "crop_pct" in preprocessor else _by_size)(preprocessor)
    filter_number = preprocessor.get("resample")
    resample = _FILTERS.get(filter_number) if isinstance(filter_number, int) else filter_number
    if resize is None or resample is None:
        return {}
    return {"height": size[0], "width": size[1], "resize": {**resize, "resample": resample}}


def _by_size(preprocessor: _Stated) -> tuple[_Stated | None, tuple[int, int]]:
    size = preprocessor.get("size")
    if isinstance(size, Mapping) and "shortest_edge" in size:
        if not preprocessor.get("do_center_crop"):
            raise ValueError("size has a shortest_edge but do_center_crop is not true")
        crop = _height_width(preprocessor["crop_size"])
        return {"mode": "shorter", "side_px": int(size["shortest_edge"])}, crop
    if not isinstance(size, Mapping):
        return None, (0, 0)  # One number means a square to some processors, a side to others.
    exact = _height_width(size)
    if preprocessor.get("do_center_crop") and _height_width(preprocessor["crop_size"]) != exact:
        raise ValueError("a crop after scaling both sides cannot be expressed")
    return {"mode": "exact"}, exact


def _by_crop_pct(preprocessor: _Stated) -> tuple[_Stated | None, tuple[int, int]]:
    size = preprocessor["size"]
    side = int(size["shortest_edge"] if isinstance(size, Mapping) else size)
    if side >= _CROP_PCT_EXACT_FROM:
        return {"mode": "exact"}, (side, side)
    scaled = int(side / float(preprocessor["crop_pct"]))
    return {"mode": "shorter", "side_px": scaled}, (side, side)


def _height_width(size: Any) -> tuple[int, int]:  # Any: JSON
    if isinstance(size, Mapping):
        return int(size["height"]), int(size["width"])
    return int(size), int(size)


def _normalisation(preprocessor: _Stated, config: _Stated) -> _Stated:
    channels = config.get("num_channels", len(preprocessor.get("image_mean", ())) or None)
    found: dict[str, Any] = {"channels": channels, "value_range": _value_range(preprocessor)}
    if preprocessor.get("do_normalize") is False and channels:
        found |= {"mean": [0.0] * channels, "std": [1.0] * channels}
    elif preprocessor.get("do_normalize"):
        found |= {"mean": preprocessor.get("image_mean"), "std": preprocessor.get("image_std")}
    return found


def _value_range(preprocessor: _Stated) -> list[float] | None:
    if preprocessor.get("do_rescale") is False:
        return [0.0, float(_EIGHT_BIT_TOP)]
    if "rescale_factor" not in preprocessor:
        return None
    low = -1.0 if preprocessor.get("rescale_offset") else 0.0
    # The factor applies to 8-bit values; rounding repairs 255 * (1 / 255).
    return [low, low + round(_EIGHT_BIT_TOP * float(preprocessor["rescale_factor"]), 9)]


def _classes(_: _Stated, config: _Stated) -> _Stated:
    names = config.get("id2label")
    if names is None:
        return {}
    by_index = {int(index): str(name) for index, name in names.items()}
    if sorted(by_index) != list(range(len(by_index))):
        raise ValueError("id2label must name the classes 0, 1, 2, ... without a gap")
    return {"labels": [by_index[index] for index in range(len(by_index))]}


def _decision(_: _Stated, config: _Stated) -> _Stated:
    match config.get("problem_type"):
        case None | "single_label_classification":
            return {"activation": "softmax"}
        case "multi_label_classification":
            return {"activation": "sigmoid"}  # The thresholds are nowhere in these files.
        case other:
            raise ValueError(f"problem_type must be a classification, got {other!r}")
