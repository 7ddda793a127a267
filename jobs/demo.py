"""Run the demonstration: python jobs/demo.py [--out out/demo] [--images 18]."""

import argparse
import sys
from functools import partial
from pathlib import Path

from xaiserve.cli.demo import run
from xaiserve.errors import XaiServeError


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    parser.add_argument("--images", type=int, default=18)
    given = parser.parse_args()
    try:
        return run(given.out, given.images, tell=partial(print, flush=True))
    except XaiServeError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
