"""COCO's compressed text of run lengths; without torch, for clients."""

from typing import Final

_DIGIT: Final = 0x1F
_NEGATIVE: Final = 0x10
_MORE: Final = 0x20
"""Bits of a character less 48."""


def runs_of(counts: str) -> list[int]:
    """Undo COCO's text: base 32, least digit first, each run from the fourth as a difference.

    Not pycocotools' own decoder: it fills a mask whose counts stop early with whatever was in
    memory, and calls numpy in a way that numpy has deprecated.
    """
    runs: list[int] = []
    value = digits = 0
    for code in counts.encode("ascii", "replace"):
        digit = code - 48
        value |= (digit & _DIGIT) << (5 * digits)
        digits += 1
        if not digit & _MORE:
            if digit & _NEGATIVE:
                value -= 1 << (5 * digits)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))  # noqa: PLR2004
            value = digits = 0
    return runs
