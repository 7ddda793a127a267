"""xaiserve explains image classifiers: in one process, over HTTP, and as dataset jobs on Ray."""

from importlib import import_module
from importlib.metadata import version
from typing import Any, Final

_HOMES: Final = {
    "explain": "xaiserve.api",
    "explain_many": "xaiserve.api",
    "load_case": "xaiserve.api",
    "load_classifier": "xaiserve.models.loading",
}

__all__ = ["__version__", "explain", "explain_many", "load_case", "load_classifier"]

__version__ = version("xaiserve")


def __getattr__(name: str) -> Any:
    """Import the public functions on first use: the command line must start without torch."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'xaiserve' has no attribute {name!r}")
