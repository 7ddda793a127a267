"""Run a ``explain`` job in place; takes the options of ``xaiserve submit explain``.

python jobs/explain.py --images IMAGES --model NAME=DIR --methods A,B --out OUT
"""

import sys

from xaiserve.cli import main

if __name__ == "__main__":
    main(["submit", "explain", "--local", *sys.argv[1:]])
