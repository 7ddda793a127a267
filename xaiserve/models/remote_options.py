"""A model behind another server, as its address says it: where, and how it is to be asked.

::

    http://host:8000/v2/models/NAME?rows=64&in_flight=4&rows_per_second=500&timeout=30&patience=300
        &output=probabilities&spec=xaiserve.json&api_key_file=key.txt

All after the question mark may be left out.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from xaiserve.errors import InvalidInputError

_SCHEMES: Final = ("http://", "https://")
_MODELS: Final = "/v2/models/"
_DIGITS: Final = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """How a model behind another server is asked.

    Parameters
    ----------
    rows
        Most rows in one request.
    in_flight
        Requests under way at once.
    rows_per_second
        Most rows in a second, over all requests of this process; no limit when none.
    timeout
        Seconds that one answer may take.
    patience
        Seconds that one batch is tried for while the server is away or full.
    output
        Which tensor of the answer holds the scores; needed when there are several.
    spec
        File in the form of ``xaiserve.json`` with what the server does not state.
    api_key_file
        File whose content is sent as ``Authorization: Bearer``.
    """

    rows: int = 64
    in_flight: int = 4
    rows_per_second: float | None = None
    timeout: float = 30.0
    patience: float = 300.0
    output: str | None = None
    spec: Path | None = None
    api_key_file: Path | None = None


def is_remote(source: object) -> bool:
    """Tell an address from everything else that a model may be named by."""
    return isinstance(source, str) and source.lower().startswith(_SCHEMES)


def read_address(source: str) -> tuple[str, RemoteOptions]:
    """Part an address into the model's own and what follows the question mark.

    Raises
    ------
    InvalidInputError
        It names no model, an option is unknown, given twice or out of range, or there is a user
        name or password in it: addresses are written to logs and results.
    """
    parts = urlsplit(source)
    head, models, name = parts.path.partition(_MODELS)
    if not parts.hostname or not models or not name.strip("/") or parts.fragment:
        raise InvalidInputError(
            f"a model behind a server must be http://HOST/v2/models/NAME, got {source!r}"
        )
    if "@" in parts.netloc:
        raise InvalidInputError(
            "the address of a model must not hold a user name or password: put the key into a "
            "file, and its path into the option api_key_file"
        )
    address = urlunsplit((parts.scheme, parts.netloc, f"{head}{models}{name.strip('/')}", "", ""))
    return address, _options(parts.query)


def _options(query: str) -> RemoteOptions:
    found: dict[str, object] = {}
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in _READERS:
            raise InvalidInputError(
                f"{key!r} is no option of a model behind a server; known are {', '.join(_READERS)}"
            )
        if key in found:
            raise InvalidInputError(f"option {key} must be given once")
        found[key] = _READERS[key](key, text)
    return RemoteOptions(**cast("dict[str, Any]", found))  # Any: each reader returns its type


def _count(key: str, text: str) -> int:
    digits = text.isascii() and text.isdecimal() and len(text) <= _DIGITS
    if not digits or int(text) < 1:
        raise InvalidInputError(f"option {key} must be an integer of at least 1, got {text!r}")
    return int(text)


def _seconds(key: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise InvalidInputError(f"option {key} must be a finite number of at least 0, got {text!r}")
    return number


def _above_0(key: str, text: str) -> float:
    number = _seconds(key, text)
    if number == 0:
        raise InvalidInputError(f"option {key} must be above 0, got {text!r}")
    return number


_READERS: Final[Mapping[str, Callable[[str, str], object]]] = {
    "rows": _count,
    "in_flight": _count,
    "rows_per_second": _above_0,
    "timeout": _above_0,
    "patience": _seconds,
    "output": lambda _, text: text,
    "spec": lambda _, text: Path(text),
    "api_key_file": lambda _, text: Path(text),
}
