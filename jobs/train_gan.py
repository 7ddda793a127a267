"""Train a contrast GAN; takes the options of ``xaiserve train contrast-gan``.

python jobs/train_gan.py --images DIR_A --images DIR_B --out OUT
"""

import sys

from xaiserve.cli import main

if __name__ == "__main__":
    main(["train", "contrast-gan", *sys.argv[1:]])
