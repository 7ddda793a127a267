"""Run a ``pointing-game`` job in place; takes the options of ``xaiserve submit pointing-game``.

python jobs/pointing_game.py --images IMAGES --model NAME=DIR --methods A,B --out OUT
"""

import sys

from xaiserve.cli import main

if __name__ == "__main__":
    main(["submit", "pointing-game", "--local", *sys.argv[1:]])
