"""Hyper-parameters that know their default, range, meaning and source.

An explainer is a frozen dataclass whose fields are declared with `param`. From that one declaration
come the checks in ``__post_init__`` (`check_fields`), ``xaiserve methods`` and the JSON Schema that
the service publishes.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar, cast

T = TypeVar("T")

_KEY: Final = "xaiserve.parameter"

MAX_SEED: Final = 2**63 - 1
"""Seeds are from 0 to this, so that every table and every client can hold them."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """What one option means and which values it takes; bounds are inclusive."""

    name: str
    default: object
    about: str
    source: str
    kind: Literal["bool", "int", "float", "str", "numbers"]
    optional: bool
    low: float | None
    high: float | None
    choices: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """The allowed values in words, for tables and error messages."""
        if self.kind == "bool":
            words = "true or false"
        elif self.choices:
            words = "one of " + ", ".join(self.choices)
        else:
            noun = {"int": "an integer", "float": "a number", "str": "text"}
            words = noun.get(self.kind, "numbers separated by commas") + self._bounds()
        return words + (" or none" if self.optional else "")

    def _bounds(self) -> str:
        if self.low is not None and self.high is not None:
            return f" from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f" of at least {self.low:g}"
        return f" of at most {self.high:g}" if self.high is not None else ""

    def check(self, value: object) -> None:
        """Raise ``ValueError`` naming this parameter, the value and the allowed values."""
        if (value is None and self.optional) or self._fits(value):
            return
        raise ValueError(f"{self.name} must be {self.allowed}, got {value!r}")

    def _fits(self, value: object) -> bool:
        match self.kind:
            case "bool":
                return isinstance(value, bool)
            case "int":
                return (
                    isinstance(value, int) and not isinstance(value, bool) and self._within(value)
                )
            case "float":
                number = isinstance(value, (int, float)) and not isinstance(value, bool)
                return number and self._within(cast("float", value))
            case "str":
                return isinstance(value, str) and (not self.choices or value in self.choices)
            case "numbers":
                return isinstance(value, tuple) and all(
                    isinstance(x, (int, float)) and self._within(x) for x in value
                )

    def _within(self, value: float) -> bool:
        return (
            math.isfinite(value)
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
        )

    def parse(self, text: str) -> object:
        """Read a value written on a command line or in a query string."""
        if self.optional and text.lower() in {"none", "null", ""}:
            return None
        try:
            value = self._read(text)
        except ValueError:
            raise ValueError(f"{self.name} must be {self.allowed}, got {text!r}") from None
        self.check(value)
        return value

    def _read(self, text: str) -> object:
        match self.kind:
            case "bool":
                return {
                    "true": True,
                    "1": True,
                    "yes": True,
                    "false": False,
                    "0": False,
                    "no": False,
                }.get(text.lower(), text)
            case "int":
                return int(text)
            case "float":
                return float(text)
            case "numbers":
                return tuple(float(part) for part in text.split(","))
            case "str":
                return text

    def schema(self) -> dict[str, Any]:
        """Describe the parameter as JSON Schema."""  # Any: JSON
        names = {
            "bool": "boolean",
            "int": "integer",
            "float": "number",
            "str": "string",
            "numbers": "array",
        }
        kind = names[self.kind]
        found: dict[str, Any] = {
            "type": [kind, "null"] if self.optional else kind,
            "default": list(self.default) if isinstance(self.default, tuple) else self.default,
            "description": f"{self.about} Source: {self.source}." if self.source else self.about,
        }
        bounds = {"minimum": self.low, "maximum": self.high}
        limits = {key: bound for key, bound in bounds.items() if bound is not None}
        if self.kind == "numbers":
            found["items"] = {"type": "number"} | limits
        else:
            found |= limits
        if self.choices:
            found["enum"] = [*self.choices, None] if self.optional else list(self.choices)
        return found


def param(
    default: T,
    about: str,
    *,
    low: float | None = None,
    high: float | None = None,
    source: str = "",
) -> T:
    """Declare a field of an explainer.

    Parameters
    ----------
    default
        The published default.
    about
        One sentence: what the option does, with its unit.
    low, high
        Inclusive bounds of a number, or of every number of a tuple.
    source
        Where the default comes from: paper, tool and version, or ``ours``.
    """
    metadata = {_KEY: {"about": about, "low": low, "high": high, "source": source}}
    return dataclasses.field(default=default, metadata=metadata)


def parameters_of(owner: type) -> tuple[Parameter, ...]:
    """List the parameters that the dataclass ``owner`` declares with `param`, in order."""
    hints = typing.get_type_hints(owner)
    fields = dataclasses.fields(owner)
    return tuple(_describe(field, hints[field.name]) for field in fields if _KEY in field.metadata)


def _describe(field: "dataclasses.Field[object]", hint: object) -> Parameter:
    members: Sequence[object] = (
        typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    )
    shown = [member for member in members if member is not type(None)]
    choices: tuple[str, ...] = ()
    if typing.get_origin(shown[0]) is Literal:
        choices = typing.get_args(shown[0])
        kind = "str"
    elif typing.get_origin(shown[0]) is tuple:
        kind = "numbers"
    else:
        kind = cast("type", shown[0]).__name__
    return Parameter(
        name=field.name,
        default=field.default,
        kind=cast("Literal['bool', 'int', 'float', 'str', 'numbers']", kind),
        optional=type(None) in members,
        choices=choices,
        **field.metadata[_KEY],
    )


def check_fields(instance: object) -> None:
    """Check every declared field; raise ``ValueError`` for the first that is wrong."""
    for parameter in parameters_of(type(instance)):
        parameter.check(getattr(instance, parameter.name))


def parse_options(owner: type, texts: Mapping[str, str]) -> dict[str, object]:
    """Turn ``key=value`` texts into typed options of ``owner``.

    Raises
    ------
    ValueError
        For an unknown key (the message lists the known ones) or a value out of range.
    """
    known = {parameter.name: parameter for parameter in parameters_of(owner)}
    for key in texts:
        if key not in known:
            raise ValueError(f"{key} is not a parameter; known are {', '.join(known)}")
    return {key: known[key].parse(text) for key, text in texts.items()}
