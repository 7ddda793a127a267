"""Make the embedded classifier from a seed: train, measure, write the folder.

python jobs/make_embedded.py --out xaiserve/data/embedded
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from xaiserve.data.embedded_files import write_embedded
from xaiserve.data.network import LesionNetwork
from xaiserve.data.planted import planted_samples
from xaiserve.data.training import Training, accuracy, occluded_set
from xaiserve.perturb.rng import Keys

TEST_SEED = 1_000_000
"""Far from any training seed: no test picture is in a training pool."""

README = """# The embedded classifier

Tells planted lesions (a triangle standing on a square; `xaiserve/data/planted.py`) from everything
else, in grey pictures of 224 x 224. Made by `python jobs/make_embedded.py --seed {seed}` in
{minutes:.1f} minutes on {threads} threads; equal bit for bit only on the same machine and torch.

Visible means at least 85 % of both shapes of a lesion; not visible, under 50 % of one of them.

| test set | pictures | accuracy |
| --- | --- | --- |
| whole pictures | {whole_count} | {whole:.4f} |
| partly hidden, a lesion visible | {shown_count} | {shown:.4f} |
| partly hidden, none visible | {hidden_count} | {hidden:.4f} |

`model.safetensors` and `model.onnx` hold the same weights; `xaiserve.json` says how to prepare a
picture; `architecture.json` names the factory of the network that fits the safetensors file.
Licence: that of the repository. Not for any real picture.
"""


def main() -> None:
    """Parse the arguments, train and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--test-pictures", type=int, default=2000)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    start = time.monotonic()
    network = Training(seed=options.seed).run(print_progress)
    minutes = (time.monotonic() - start) / 60
    write_embedded(network, options.out)
    figures = measure(network, options.test_pictures)
    text = README.format(seed=options.seed, minutes=minutes, threads=options.threads, **figures)
    (options.out / "README.md").write_text(text, encoding="utf-8")
    print(text)


def measure(network: LesionNetwork, count: int) -> dict[str, float]:
    """Measure accuracy on fresh pictures: whole, and partly hidden by class."""
    samples = list(planted_samples(TEST_SEED, count))
    whole = [sample.image.astype(np.float32) / 255 for sample in samples]
    figures = {
        "whole_count": count,
        "whole": accuracy(network, whole, [int(s.label == "diseased") for s in samples]),
    }
    occluded = list(occluded_set(samples, Keys.root(TEST_SEED, "occluded")))
    for name, target in (("hidden", 0), ("shown", 1)):
        pictures = [picture for picture, found in occluded if found == target]
        figures[f"{name}_count"] = len(pictures)
        figures[name] = accuracy(network, pictures, [target] * len(pictures))
    return figures


def print_progress(number: int, loss: float) -> None:
    """Print the loss of every fiftieth step."""
    if number % 50 == 0:
        print(f"step {number}: loss {loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
