"""`Finding`: the outcome of one check."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from xaiserve.errors import XaiServeError

State = Literal["ok", "warning", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    name
        Of the check.
    state
        A warning costs time or room and stops nothing.
    told
        What is so, in one line.
    todo
        What to do about it; empty where nothing needs doing.
    """

    name: str
    state: State
    told: str
    todo: str = ""


Check = Callable[[], Finding]
"""Looks at one thing; what it raises is its finding, too."""


def look(name: str, check: Check) -> Finding:
    """Run one check; an error that it meets is what it found."""
    try:
        return check()
    except XaiServeError as error:  # these say what to do themselves
        return Finding(name=name, state="failed", told=str(error))
    except Exception as error:  # noqa: BLE001 -- the other checks go on, and this one is told
        return Finding(
            name=name, state="failed", told=f"unexpected {type(error).__name__}: {error}"
        )


def size(number: float) -> str:
    """Write bytes for people."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:  # noqa: PLR2004
            return f"{number:.0f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"
