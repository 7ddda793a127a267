"""Shares of a picture, in words."""

from typing import Final

_LEAST: Final = 0.001


def share_of(fraction: float) -> str:
    """Write a share from 0 to 1 as percents; little is not told to be nothing."""
    return f"under {_LEAST:.1%}" if 0 < fraction < _LEAST else f"{fraction:.1%}"
