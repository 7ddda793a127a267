"""What a sweep may draw: per parameter of a method a choice or a range, checked against it."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import numpy as np
import yaml

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.registry import explainer_class
from xaiserve.parameters import Parameter, parameters_of
from xaiserve.perturb.rng import Keys
from xaiserve.storage.opening import read_uri

KINDS: Final = ("choice", "uniform", "loguniform", "randint")
EXAMPLE: Final = "cells: {choice: [4, 8]}"

_ENDS: Final = 2

Drawn = Mapping[str, object]
"""Values of the parameters of a space, by name."""


@runtime_checkable
class Domain(Protocol):
    """The values that one parameter may take."""

    @property
    def values(self) -> Sequence[object] | None:
        """All values, or None where there are too many to list."""
        ...

    def draw(self, generator: np.random.Generator) -> object:
        """Draw one value."""
        ...


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some values."""

    values: tuple[object, ...]

    def draw(self, generator: np.random.Generator) -> object:
        return self.values[generator.integers(len(self.values))]


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number, both ends included."""

    low: int
    high: int

    @property
    def values(self) -> Sequence[object]:
        return range(self.low, self.high + 1)

    def draw(self, generator: np.random.Generator) -> object:
        return int(generator.integers(self.low, self.high, endpoint=True))


@dataclass(frozen=True, slots=True)
class Between:
    """A number; ``log`` draws its logarithm evenly."""

    low: float
    high: float
    log: bool = False

    @property
    def values(self) -> None:
        return None

    def draw(self, generator: np.random.Generator) -> object:
        if not self.log:
            return float(generator.uniform(self.low, self.high))
        drawn = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        return min(max(drawn, self.low), self.high)  # exp(log(x)) need not be x


Space = Mapping[str, Domain]


def read_space(uri: str, method: str) -> Space:
    """Read a space from a YAML or JSON file; see `parse_space`.

    Raises
    ------
    InvalidInputError
        It is neither, or `parse_space` refuses what it says.
    NotFoundError
        There is no such file or method.
    """
    try:
        given = yaml.safe_load(read_uri(uri))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        told = " ".join(str(error).split())
        raise InvalidInputError(f"space {uri} must be YAML or JSON: {told}") from error
    return parse_space(given, method)


def parse_space(given: object, method: str) -> Space:
    """Turn ``{parameter: {kind: values}}`` into domains; ``randint`` includes both ends.

    Raises
    ------
    InvalidInputError
        A parameter is unknown, or a value or an end of a range is not allowed.
    NotFoundError
        There is no such method.
    """
    known = {each.name: each for each in parameters_of(explainer_class(method))}
    if not isinstance(given, Mapping) or not given:
        raise InvalidInputError(
            f"space must name at least one parameter, such as {EXAMPLE}, got {given!r:.80}"
        )
    for name in given:
        if name not in known:
            raise InvalidInputError(
                f"space: {name} is not a parameter of {method}; known are {', '.join(known)}"
            )
    return {name: _domain(known[name], wish) for name, wish in given.items()}


def _domain(parameter: Parameter, wish: object) -> Domain:
    if not isinstance(wish, Mapping) or len(wish) != 1 or next(iter(wish)) not in KINDS:
        raise InvalidInputError(
            f"space: {parameter.name} must have one of {', '.join(KINDS)}, such as {EXAMPLE}, "
            f"got {wish!r:.80}"
        )
    (kind, values) = next(iter(wish.items()))
    if not isinstance(values, list) or not values:
        raise InvalidInputError(f"space: {parameter.name} must list its values, got {values!r:.80}")
    try:
        if kind == "choice":
            return Choice(tuple(dict.fromkeys(_value(parameter, each) for each in values)))
        return _range(parameter, kind, values)
    except ValueError as error:
        raise InvalidInputError(f"space: {error}") from error


def _value(parameter: Parameter, given: object) -> object:
    if isinstance(given, str):
        return parameter.parse(given)
    value = tuple(given) if isinstance(given, list) else given
    parameter.check(value)
    return value


def _range(parameter: Parameter, kind: str, ends: Sequence[object]) -> Domain:
    fitting = {"int": ("randint",), "float": ("uniform", "loguniform", "randint")}
    if kind not in fitting.get(parameter.kind, ()):
        allowed = ", ".join(["choice", *fitting.get(parameter.kind, ())])
        raise ValueError(f"{parameter.name} must be {parameter.allowed}: use {allowed}, not {kind}")
    low, high = _ends(parameter, ends)
    if kind == "randint":
        if not (isinstance(low, int) and isinstance(high, int)):
            raise ValueError(f"randint of {parameter.name} must have whole ends, got {ends}")
        return Whole(low, high)
    if kind == "loguniform" and low <= 0:
        raise ValueError(f"loguniform of {parameter.name} must begin above 0, got {low:g}")
    return Between(low, high, log=kind == "loguniform")


def _ends(parameter: Parameter, ends: Sequence[object]) -> tuple[float, float]:
    values = [_value(parameter, end) for end in ends]  # YAML takes 1e-3 for a text
    numbers = [value for value in values if isinstance(value, (int, float))]
    if len(numbers) != _ENDS or len(values) != _ENDS or not numbers[0] < numbers[1]:
        raise ValueError(
            f"a range of {parameter.name} must be [low, high], low below high, got {list(ends)}"
        )
    return numbers[0], numbers[1]


def draw(space: Space, samples: int, keys: Keys) -> tuple[Drawn, ...]:
    """Draw ``samples`` different settings; all of them, in order, where there are no more."""
    every = [domain.values for domain in space.values()]
    listed = [values for values in every if values is not None]
    if len(listed) == len(every) and math.prod(map(len, listed)) <= samples:
        return tuple(dict(zip(space, each, strict=True)) for each in itertools.product(*listed))
    found: dict[tuple[object, ...], None] = {}
    for number in itertools.count():
        generator = keys.child(number).generator()
        found.setdefault(tuple(domain.draw(generator) for domain in space.values()))
        if len(found) == samples:
            break
    return tuple(dict(zip(space, each, strict=True)) for each in found)
