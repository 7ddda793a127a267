"""How long a thread has wanted a core: a model that computes elsewhere lets its caller sleep."""

from pathlib import Path
from time import thread_time
from typing import Final

_STATISTICS: Final = Path("/proc/thread-self/schedstat")
_NANOSECOND: Final = 1e-9


def busy_time() -> float:
    """Return the seconds for which this thread has computed, or waited for a core to compute on.

    On a machine where many share a core, the second may be most of it. Only Linux tells; elsewhere
    it is left out.
    """
    return thread_time() + _waited(_STATISTICS)


def _waited(statistics: Path) -> float:
    """Read the time in the run queue, the second of the numbers that the kernel keeps."""
    try:
        return int(statistics.read_bytes().split()[1]) * _NANOSECOND
    except (OSError, ValueError, IndexError):
        return 0.0
