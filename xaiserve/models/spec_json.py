"""`ModelSpec` as JSON: the contents of ``xaiserve.json``, and the canonical form that is hashed."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, cast, get_args

from xaiserve.errors import InvalidInputError
from xaiserve.models.spec import Activation, ModelSpec, Resample, Resize, Rule

HOW_TO_STATE: Final = "state it in xaiserve.json beside the weights, or as a specification override"


def spec_to_json(spec: ModelSpec) -> dict[str, Any]:  # Any: JSON
    """Describe a specification as the contents of an ``xaiserve.json``; nothing is left out."""
    return {
        "height": spec.height,
        "width": spec.width,
        "channels": spec.channels,
        "value_range": list(spec.value_range),
        "mean": list(spec.mean),
        "std": list(spec.std),
        "resize": {
            "mode": spec.resize.mode,
            "side_px": spec.resize.side_px,
            "resample": spec.resize.resample,
        },
        "labels": list(spec.labels),
        "activation": spec.activation,
        "rule": {"thresholds": list(spec.rule.thresholds)},
    }


def canonical_json(spec: ModelSpec) -> bytes:
    """Write a specification as bytes that are equal for equal specifications."""
    return json.dumps(spec_to_json(spec), sort_keys=True, separators=(",", ":")).encode()


def spec_from_json(stated: Mapping[str, object], origin: str) -> ModelSpec:
    """Read a specification from JSON; nothing is filled in by guessing.

    Parameters
    ----------
    stated
        The keys of `spec_to_json`. All are required, except that ``rule`` may be absent (arg-max)
        unless the activation is ``sigmoid``, where both rules are usual.
    origin
        The file or files that stated it, for messages.

    Raises
    ------
    InvalidInputError
        For an unknown key, a missing key, or a value of the wrong type or range.
    """
    _refuse_unknown(stated, _READERS, origin)
    required = set(_READERS) - ({"rule"} if stated.get("activation") != "sigmoid" else set())
    if missing := [key for key in _READERS if key in required and key not in stated]:
        raise InvalidInputError(f"{', '.join(missing)}: not stated by {origin}; {HOW_TO_STATE}")
    values = {key: _READERS[key](value, f"{key} in {origin}") for key, value in stated.items()}
    try:
        return ModelSpec(**cast("dict[str, Any]", values))  # Any: each reader returns its type
    except ValueError as error:
        raise InvalidInputError(f"{origin}: {error}") from error


def _refuse_unknown(stated: Mapping[str, object], known: Mapping[str, object], where: str) -> None:
    for key in stated:
        if key not in known:
            raise InvalidInputError(
                f"{key!r} in {where} is unknown; known keys are {', '.join(known)}"
            )


def _wrong(where: str, expected: str, value: object) -> InvalidInputError:
    return InvalidInputError(f"{where} must be {expected}, got {value!r}")


def _integer(value: object, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(where, "an integer", value)
    return value


def _numbers(value: object, where: str) -> tuple[float, ...]:
    if not isinstance(value, list | tuple) or not all(
        isinstance(number, int | float) and not isinstance(number, bool) and math.isfinite(number)
        for number in value
    ):
        raise _wrong(where, "a list of finite numbers", value)
    return tuple(float(number) for number in value)


def _pair(value: object, where: str) -> tuple[float, ...]:
    numbers = _numbers(value, where)
    if len(numbers) != 2:  # noqa: PLR2004
        raise _wrong(where, "two numbers, low and high", value)
    return numbers


def _texts(value: object, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(text, str) for text in value):
        raise _wrong(where, "a list of names, one per class", value)
    return tuple(cast("list[str]", value))


def _one_of(choices: tuple[str, ...]) -> Callable[[object, str], str]:
    def read(value: object, where: str) -> str:
        if value not in choices:
            raise _wrong(where, "one of " + ", ".join(choices), value)
        return value

    return read


def _object(value: object, keys: tuple[str, ...], where: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise _wrong(where, "an object with " + ", ".join(keys), value)
    _refuse_unknown(value, dict.fromkeys(keys), where)
    return value


def _resize(value: object, where: str) -> Resize:
    stated = _object(value, ("mode", "side_px", "resample"), where)
    mode = _one_of(("shorter", "exact"))(stated.get("mode"), f"mode of {where}")
    side_px = _integer(stated.get("side_px", 0), f"side_px of {where}")
    if mode == "shorter" and side_px < 1:
        raise _wrong(f"side_px of {where}", "at least 1 when mode is shorter", side_px)
    resample = _one_of(get_args(Resample))(stated.get("resample"), f"resample of {where}")
    return Resize(
        mode=cast("Literal['shorter', 'exact']", mode),
        side_px=side_px,
        resample=cast("Resample", resample),
    )


def _rule(value: object, where: str) -> Rule:
    stated = _object(value, ("thresholds",), where)
    return Rule(thresholds=_numbers(stated.get("thresholds"), f"thresholds of {where}"))


_READERS: Final[Mapping[str, Callable[[object, str], object]]] = {
    "height": _integer,
    "width": _integer,
    "channels": _integer,
    "value_range": _pair,
    "mean": _numbers,
    "std": _numbers,
    "resize": _resize,
    "labels": _texts,
    "activation": _one_of(get_args(Activation)),
    "rule": _rule,
}
