"""SAG on the images of ``multirex-quality``: ``python -m benchmarks.sag_quality NETWORK``.

Appends one row per image to ``recorded/sag.jsonl`` and prints a summary of all rows there. Images
that have a row already are skipped, so that a recording may be interrupted. Rows are keyed like the
reference tool's: by the digests of the network's ONNX file and of the image.

SAG asks for 0.9 of the score on soft patches over black. Its roots are judged in three ways:

- ``family``: its own, roots that share at most one patch;
- ``dice``: roots whose Dice overlap is at most 0.1, a patch counting where it shows half the image;
- ``hard``: of those, the ones whose mask, cut hard and shown alone over value 0 after
  normalisation, keeps the label: what is asked of MultiReX.

Times are not kept: a recording shares its machine.
"""

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from benchmarks.common import DATA, need_data
from benchmarks.record_rex import cases
from benchmarks.rex import OVERLAP, key_of
from xaiserve.api import start
from xaiserve.explainers.baselines.sag import Root, Sag, SagExplanation
from xaiserve.explainers.multirex import select_family
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.models.sources import Format
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Limits

RECORDED: Final = Path(__file__).parent / "recorded" / "sag.jsonl"
BATCH: Final = 16

TORCH: Final = {
    "mobilenet_v2_imagenet1k": str(DATA / "classifiers" / "mobilenet_v2_imagenet1k"),
    "squeezenet1_1_imagenet1k": "benchmarks.squeezenet:make",
}
"""Where each network has gradients; its scores come from onnxruntime all the same."""

Row = dict[str, Any]  # Any: JSON


def main() -> None:
    """Record what is missing and print the summary; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=TORCH)
    parser.add_argument("--fill", choices=["black", "neutral"], default="black")
    parser.add_argument("--count", type=int, default=None, help="images at most, old ones too")
    parser.add_argument("--rows", type=Path, default=RECORDED)
    given = parser.parse_args()
    need_data()
    torch.set_num_threads(1)
    onnx = DATA / "classifiers" / given.network / "model.onnx"
    named = load_classifier(onnx, threads=1, batch_rows=BATCH)
    done = {(row["key"], row["fill"]) for row in recorded(given.rows)}
    images = list(cases("odd", named))[: given.count]
    left = [each for each in images if (key_of(each[1], named), given.fill) not in done]
    with Engine(_with_gradients(given.network), batch_rows=BATCH) as engine:
        for place, case in left:
            about = {"key": key_of(case, named), "network": given.network, "set": "odd"}
            row = about | {"place": place, "fill": given.fill} | _row(engine, case, given.fill)
            with given.rows.open("a") as out:
                out.write(json.dumps(row, separators=(",", ":")) + "\n")
    print(json.dumps(summaries(recorded(given.rows)), indent=2))


def _with_gradients(network: str) -> LoadedClassifier:
    made = TORCH[network]
    file_format: Format | None = None if ":" in made else "safetensors"
    return load_classifier(
        made, file_format=file_format, trust_code=True, threads=1, batch_rows=BATCH
    )


def recorded(path: Path = RECORDED) -> list[Row]:
    """Read the rows that were recorded."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def _row(engine: Engine, case: Case, fill: str) -> Row:
    """Explain one image, without the graph, which no figure needs."""
    explainer = Sag(fill="black" if fill == "black" else "neutral", children=0)
    ticket = start(engine, explainer, case, limits=Limits(max_inputs=50_000))
    found = ticket.result()
    assert isinstance(found, SagExplanation)  # noqa: S101 -- it is what was asked for
    roots = found.explanations
    hard = [root for root in roots if _keeps_label(engine, case, root)]
    dice = _family(roots)
    return {
        "target": case.target,
        "confidence": round(found.confidence, 5),
        "trivial": found.trivial,
        "roots": len(roots),
        "patches": [len(root.patches) for root in roots],
        "keeps_label": sum(root.keeps_label for root in roots),
        "family": len(found.family),
        "dice": len(dice),
        "hard": len(_family(hard)),
        "area": sorted(round(root.area_fraction, 5) for root in dice),
        "kept": [round(root.confidence / found.confidence, 4) for root in dice],
        "model_inputs": ticket.cost.model_inputs,
        "stopped": ticket.cost.stopped,
    }


def _family(roots: Sequence[Root]) -> list[Root]:
    chosen, _ = select_family([root.mask for root in roots], OVERLAP)
    return [roots[index] for index in chosen]


def _keeps_label(engine: Engine, case: Case, root: Root) -> bool:
    shown = torch.where(root.mask, case.image, case.neutral)
    return int(engine.classifier.scores(shown.unsqueeze(0)).argmax()) == case.target


def summaries(rows: Iterable[Row]) -> Row:
    """Summarise rows per network and fill."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(f"{row['network']}, {row['fill']}", []).append(row)
    return {name: summary(group) for name, group in groups.items()}


def summary(rows: Sequence[Row]) -> Row:
    """Summarise rows of one network and fill; images whose fill alone is enough are left out."""
    proper = [row for row in rows if not row["trivial"]]
    areas = [row["area"][min(1, len(row["area"]) - 1)] for row in proper if row["area"]]
    return {
        "images": len(proper),
        "trivial": len(rows) - len(proper),
        "without_roots": sum(not row["roots"] for row in proper),
        "roots": statistics.median(row["roots"] for row in proper),
        "patches": statistics.median(size for row in proper for size in row["patches"]),
        "roots_that_keep_the_label": sum(row["keeps_label"] for row in proper)
        / sum(row["roots"] for row in proper),
        "two_or_more": {
            way: round(sum(row[way] > 1 for row in proper) / len(proper), 3)
            for way in ("family", "dice", "hard")
        },
        "sizes": {
            way: dict(sorted(Counter(row[way] for row in proper).items()))
            for way in ("family", "dice", "hard")
        },
        "area": statistics.median(areas),
        "kept": statistics.median(share for row in proper for share in row["kept"]),
        "model_inputs": statistics.median(row["model_inputs"] for row in proper),
        "model_inputs_most": max(row["model_inputs"] for row in proper),
        "stopped": sum(row["stopped"] is not None for row in proper),
    }


if __name__ == "__main__":
    main()
