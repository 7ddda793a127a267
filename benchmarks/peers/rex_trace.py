"""Record how ReX 0.4.1 searches a toy image, in the tool's own environment.

``python rex_trace.py trace.json`` writes, per iteration, where every box was cut and how many
mutants passed and failed; then the merged map and the global set. A search that is given the same
cuts must find the same. The classifier counts visible pixels in patches, so that its numbers are
exact in every implementation.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rex_xai.explanation.explanation import Explanation
from rex_xai.input.config import CausalArgs
from rex_xai.input.input_data import Data
from rex_xai.mutants.box import Box, initialise_tree
from rex_xai.responsibility import responsibility
from rex_xai.responsibility.prediction import Prediction
from rex_xai.responsibility.resp_maps import ResponsibilityMaps

SIDE: Final = 32
SEED: Final = 0
ITERATIONS: Final = 20

OFFSETS: Final = (0.0, 130.5, 0.25)
"""What each class scores on nothing; fractions keep classes from tying."""

PATCHES: Final = (
    (0, 4, 12, 4, 14, 2.0),
    (0, 18, 28, 16, 26, 1.0),
    (0, 6, 14, 20, 28, 1.0),
    (2, 20, 30, 2, 10, 3.0),
)
"""Class, r0, r1, c0, c1, weight: each visible pixel of a patch adds the weight to the class."""

Scores = NDArray[np.float64]


def scores(images: NDArray[np.float32]) -> Scores:
    """Score pictures (n, 3, h, w), of ones where they are visible and of zeros elsewhere."""
    found = np.tile(OFFSETS, (len(images), 1))
    for label, r0, r1, c0, c1, weight in PATCHES:
        found[:, label] += weight * images[:, 0, r0:r1, c0:c1].sum(axis=(1, 2))
    return found


def predict(tensors: torch.Tensor, target: Any = None) -> list[Any]:
    """Predict as the tool expects it; ties go to the lower class."""
    del target
    found = scores(tensors.numpy())
    return [Prediction(int(one.argmax()), float(one.max())) for one in found]


def cuts(node: Box) -> Iterator[tuple[str, list[int]]]:
    """List the path and the cut of every box of a tree that was cut."""
    if node.children:
        last = node.children[3]
        yield node.name, [last.row_start, last.col_start]
        for child in node.children:
            yield from cuts(child)


def main() -> None:
    """Search with the tool's defaults, one iteration after the other."""
    args = CausalArgs()
    args.seed, args.iters, args.batch_size = SEED, ITERATIONS, 14
    shape = [1, 3, SIDE, SIDE]
    data = Data(None, shape, "cpu", mode="RGB")
    data.data = torch.ones(shape)
    data.set_mask_value(args.mask_value)
    data.target = predict(data.data)[0]
    trees: list[Box] = []

    def kept(*sizes: Any, **options: Any) -> Box:
        trees.append(initialise_tree(*sizes, **options))
        return trees[-1]

    responsibility.initialise_tree = kept
    maps = ResponsibilityMaps(args.responsibility_style, SIDE, SIDE, None)
    iterations = []
    for index in range(ITERATIONS):
        local, passing, failing, depth, _ = responsibility.causal_explanation(
            index + 1, data, args, predict
        )
        maps.merge(local)
        about = {"passing": passing, "failing": failing, "depth": depth}
        iterations.append({**about, "cuts": dict(cuts(trees[-1]))})
    found = Explanation(maps, predict, data, args, {})
    found.extract()
    trace = {
        "tool": "rex-xai 0.4.1",
        "side": SIDE,
        "target": data.target.classification,
        "offsets": OFFSETS,
        "patches": PATCHES,
        "chunk": args.chunk_size,
        "iterations": iterations,
        "map": [float(f"{value:.8g}") for value in found.target_map.flatten().tolist()],
        "global": np.flatnonzero(found.sufficiency_mask[0].numpy()).tolist(),
    }
    Path(sys.argv[1]).write_text(json.dumps(trace, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
