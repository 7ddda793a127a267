"""Options and arguments that several commands take, and how their texts are read."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from typing_extensions import override

from xaiserve.errors import InvalidInputError
from xaiserve.parameters import MAX_SEED

F = TypeVar("F", bound=Callable[..., Any])

SEED: Final = click.IntRange(min=0, max=MAX_SEED)
"""What ``--seed`` takes, in every command and over HTTP."""

SUFFIXES: Final = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""Files of a folder that are taken for pictures; a file that is named is always taken."""


class Pair(click.ParamType[tuple[str, str]]):
    """``key=value``, as a tuple of two texts."""

    name = "key=value"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not key or not equals:
            self.fail(f"{value!r} must be key=value", param, ctx)
        return key.strip().replace("-", "_"), text.strip()


class Seconds(click.ParamType[float]):
    """A finite number above 0."""

    name = "seconds"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            self.fail(f"must be a finite number above 0, got {value!r}", param, ctx)
        return seconds


class Range(click.ParamType[tuple[float, float]]):
    """``low,high``, as a tuple of two numbers, the first below the second."""

    name = "low,high"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float]:
        if isinstance(value, tuple):
            return value
        try:
            low, high = (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} must be two numbers, low,high", param, ctx)
        if not low < high:
            self.fail(f"low must be below high, got {value}", param, ctx)
        return low, high


precision_option: Final = click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    default="fp32",
    show_default=True,
    help="Searches on a GPU in fewer bits; what is released is scored in fp32.",
)


def model_options(function: F) -> F:
    """Add what says which model is loaded, and how."""
    options = (
        click.option(
            "--model",
            "source",
            required=True,
            metavar="DIR",
            help="Model folder or file, hub id owner/name, package.module:factory, or 'embedded'.",
        ),
        click.option(
            "--format",
            "file_format",
            type=click.Choice(["onnx", "safetensors", "pt2"]),
            help="Which file of a folder with several; ONNX first by default.",
        ),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
        precision_option,
        click.option(
            "--trust-code",
            is_flag=True,
            help="Allow models that run code of their own when loaded (.pt2, factories).",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def contrast_options(function: F) -> F:
    """Add what says where contrast pictures come from."""
    options = (
        click.option(
            "--translator",
            metavar="DIR",
            help="Translator folder that makes contrast pictures, for methods that need them.",
        ),
        click.option(
            "--contrast",
            metavar="SPEC",
            help="Instead: nearest:POOL, file:PAIR, blur, inpaint or inpaint:MASKS.",
        ),
        click.option(
            "--contrast-set",
            "contrast_options",
            multiple=True,
            type=Pair(),
            help="An option of that, such as low=0.1 of nearest.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def each_once(pairs: Iterable[tuple[str, str]], option: str = "--set") -> dict[str, str]:
    """Collect ``--set`` options by key.

    Raises
    ------
    InvalidInputError
        A key is given twice: one of the values would be dropped without a word.
    """
    found: dict[str, str] = {}
    for key, text in pairs:
        if key in found:
            raise InvalidInputError(
                f"{option} {key} must be given once, got {found[key]} and {text}"
            )
        found[key] = text
    return found


def filled_settings(settings: Iterable[str], methods: Sequence[str]) -> dict[str, dict[str, str]]:
    """Sort ``method.key=value`` texts by method, and fill in what preset files say.

    With one method its name may be left out.

    Raises
    ------
    InvalidInputError
        A text has no method, key or value, a key is given twice, or a preset file is none of its
        method.
    """
    from xaiserve.explainers.preset_file import filled

    given = each_once(_setting(text, methods) for text in settings)
    found: dict[str, dict[str, str]] = {}
    for where, value in given.items():
        method, _, key = where.rpartition(".")
        found.setdefault(method, {})[key] = value
    return {method: filled(method, options) for method, options in found.items()}


def _setting(text: str, methods: Sequence[str]) -> tuple[str, str]:
    where, equals, value = text.partition("=")
    method, dot, key = where.rpartition(".")
    if not dot and len(methods) == 1:
        method = methods[0]
    if not (equals and method and key):
        raise InvalidInputError(f"--set must be METHOD.KEY=VALUE, got {text!r}")
    return f"{method}.{key}", value


def pictures_in(sources: Iterable[Path]) -> list[Path]:
    """List the files to read: those named, and the pictures anywhere in folders, sorted by path.

    Raises
    ------
    InvalidInputError
        A folder holds no picture.
    """
    found: list[Path] = []
    for source in sources:
        found += _in_folder(source) if source.is_dir() else [source]
    return list(dict.fromkeys(found))


def _in_folder(folder: Path) -> list[Path]:
    inside = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not inside:
        raise InvalidInputError(f"folder {folder} holds no picture ({', '.join(SUFFIXES)})")
    return inside


def named_source(text: str) -> tuple[str | None, str]:
    """Split ``NAME=DIR``; a plain source, or a path or address that holds a ``=``, has no name."""
    name, equals, source = text.partition("=")
    if not equals or not name or "://" in name or Path(text).exists():
        return None, text
    return name, source
