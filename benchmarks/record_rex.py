"""Record the reference tool's rows: ``python -m benchmarks.record_rex NETWORK SET ROWS.jsonl``.

Sets: ``odd``, the correctly classified images at odd places (from 0) of the ImageNet sample's
annotations; ``ecssd``, all images of ``ecssd_masks``. Images that have a row already are skipped,
so that a recording may be interrupted. Times are not kept: a recording shares its machine.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from benchmarks.common import DATA, need_data
from benchmarks.rex import Rex, Row, key_of, write_input
from xaiserve.api import load_case
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case

BATCH: Final = 16
"""The tool's batch size; its sets do not depend on it, its inputs hardly."""

FOLDERS: Final = {"odd": "imagenet_sample", "ecssd": "ecssd_masks"}


def main() -> None:
    """Append one row per image; see the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", help="folder below the classifiers")
    parser.add_argument("set", choices=FOLDERS)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--count", type=int, default=None, help="images at most")
    parser.add_argument("--masks", type=Path, default=None, help="folder to keep the sets in")
    given = parser.parse_args()
    need_data()
    onnx = DATA / "classifiers" / given.network / "model.onnx"
    model = load_classifier(onnx, threads=1, batch_rows=1)
    lines = given.rows.read_text().splitlines() if given.rows.is_file() else []
    done = {json.loads(line)["key"] for line in lines}
    with Rex(onnx, threads=1) as rex, tempfile.TemporaryDirectory() as folder:
        for place, case in list(cases(given.set, model))[: given.count]:
            key = key_of(case, model)
            if key in done:
                continue
            masks = given.masks / f"{key.replace('/', '-')}.npz" if given.masks else None
            told = rex.explain(write_input(case, model, Path(folder)), batch=BATCH, masks=masks)
            about = {"key": key, "network": given.network, "set": given.set, "place": place}
            with given.rows.open("a") as out:
                out.write(json.dumps(about | untimed(told), separators=(",", ":")) + "\n")


def cases(name: str, model: LoadedClassifier) -> Iterator[tuple[int, Case]]:
    """List the images of a set and their places in its annotations."""
    folder = DATA / FOLDERS[name]
    rows = json.loads((folder / "annotations.json").read_text())
    for place, row in enumerate(rows):
        if name == "odd" and place % 2 == 0:
            continue
        case = load_case(folder / row["image"], model)
        if name == "ecssd" or case.target == row["label"]:
            yield place, case


def untimed(row: Row) -> Row:
    """Leave out the seconds."""
    return {name: value for name, value in row.items() if not name.endswith("_s")}


if __name__ == "__main__":
    main()
