"""``python -m xaiserve`` is the command line."""

from xaiserve.cli import main

main(prog_name="xaiserve")
