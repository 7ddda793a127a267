"""The command line; importing it imports neither torch nor ray."""

from xaiserve.cli.main import main

__all__ = ["main"]
