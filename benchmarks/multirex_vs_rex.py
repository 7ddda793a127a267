"""``multirex-vs-rex``: wall time per image beside the reference tool's, at equal quality.

Both explain the same model inputs with the same ONNX file and threads, one image at a time and in
turn, ours with preset ``fast``, the tool with its defaults and at the batch size that suits it
best. Beside it: the largest family with pairwise Dice of at most 0.1, by its size and, at equal
size, by area (of as many smallest members as both have, the largest), and what each spends over its
floor, the bare model's time for the rows that were scored; that comparison is at equal model
inputs.

With ``--quick`` the tool is not run: its time is then its floor, for the model inputs of its
recorded rows, which it cannot undercut.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.bare import Way, best_way
from benchmarks.common import MOBILENET, Report, need_data, report, spread
from benchmarks.record_rex import cases
from benchmarks.rex import OVERLAP, Rex, Row, key_of, recorded, write_input
from benchmarks.squeezenet import FOLDER as SQUEEZENET
from xaiserve.api import start
from xaiserve.explainers.multirex import MultiRexExplanation, select_family
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine

BAR: Final = 1 / 3
FLOOR_BAR: Final = 1.1
OURS: Final = make_explainer("multirex", {"preset": "fast"})
MODELS: Final = {
    "MobileNetV2": MOBILENET / "model.onnx",
    "SqueezeNet 1.1": SQUEEZENET / "model.onnx",
}
IMAGES: Final = 8
QUICK_IMAGES: Final = 3
THREADS: Final = 2
BATCHES: Final = (1, 16, 64)
"""Batch sizes at which the tool is tried on the first image."""

FLOOR_S: Final = 1.0
"""Seconds of a measurement of the floor."""


class Side(NamedTuple):
    """What one of the two did with one image; the floor is the bare model's seconds for it."""

    seconds: float
    cpu_seconds: float | None
    model_inputs: int
    areas: tuple[int, ...]
    """Of the family, ascending, in pixels."""

    floor: float


class Pair(NamedTuple):
    """Both, on one image."""

    ours: Side
    tool: Side


def run(quick: bool) -> Report:
    """Compare on 8 images per classifier (``quick``: 3, against the tool's floor)."""
    need_data()
    figures = {
        name: _compared(onnx, quick)
        for name, onnx in MODELS.items()
        if not quick or _is_first(name)
    }
    value = max(found["wall_ratio"]["median"] for found in figures.values())
    return report(
        round(value, 4),
        f"<= {BAR:.3f}; over the floor <= {FLOOR_BAR} and below the tool; quality not below it",
        holds=value <= BAR and all(_holds(found, quick) for found in figures.values()),
        figures={"explainer": repr(OURS), "threads": THREADS, **figures},
    )


def _is_first(name: str) -> bool:
    return name == next(iter(MODELS))


def _holds(found: Row, quick: bool) -> bool:
    ours, tool = found["ours"], found["tool"]
    cheap = ours["over_floor"]["median"] <= FLOOR_BAR
    cheaper = quick or ours["over_floor"]["median"] < tool["over_floor"]["median"]
    many = ours["two_or_more"] >= tool["two_or_more"]
    small = found["area_px"]["ours"] <= found["area_px"]["tool"]
    return bool(cheap and cheaper and many and small)


def _compared(onnx: Path, quick: bool) -> Row:
    model = load_classifier(onnx, threads=THREADS)
    known = recorded()
    chosen = (case for _, case in cases("odd", model) if not quick or key_of(case, model) in known)
    images = list(islice(chosen, QUICK_IMAGES if quick else IMAGES))
    if not images:
        raise SystemExit("--quick needs recorded rows of the tool: python -m benchmarks.record_rex")
    bare, _ = best_way(onnx, THREADS, seconds=FLOOR_S / 4)
    _explained(model, images[0], 0.0)  # the first search also pays for imports and tuning
    if quick:
        rows = [known[key_of(case, model)] for case in images]
        pairs = [
            _against_floor(model, bare, case, row) for case, row in zip(images, rows, strict=True)
        ]
        return _summary(pairs, batch=None)
    with Rex(onnx, THREADS) as tool, tempfile.TemporaryDirectory() as folder:
        files = [write_input(case, model, Path(folder)) for case in images]
        batch = min(BATCHES, key=lambda batch: tool.explain(files[0], batch=batch)["wall_s"])
        pairs = list(
            _interleaved(model, bare, images, lambda i: tool.explain(files[i], batch=batch))
        )
    return _summary(pairs, batch)


def _interleaved(
    model: LoadedClassifier, bare: Way, images: Sequence[Case], explain: Callable[[int], Row]
) -> Iterator[Pair]:
    """Explain each image here and by the tool, each between two measurements of the floor."""
    before = 1 / bare.speed(FLOOR_S).wall
    for index, case in enumerate(images):
        ours = _explained(model, case, before)
        between = 1 / bare.speed(FLOOR_S).wall
        told = explain(index)
        after = 1 / bare.speed(FLOOR_S).wall
        yield Pair(
            ours._replace(floor=ours.model_inputs * (before + between) / 2),
            _of_tool(told, told["wall_s"], (between + after) / 2),
        )
        before = after


def _against_floor(model: LoadedClassifier, bare: Way, case: Case, row: Row) -> Pair:
    before = 1 / bare.speed(FLOOR_S).wall
    ours = _explained(model, case, before)
    per_row = (before + 1 / bare.speed(FLOOR_S).wall) / 2
    floor = sum(row["inputs"].values()) * per_row
    return Pair(ours._replace(floor=ours.model_inputs * per_row), _of_tool(row, floor, per_row))


def _explained(model: LoadedClassifier, case: Case, per_row: float) -> Side:
    with Engine(model) as engine:
        begun, cpu = time.perf_counter(), time.process_time()
        ticket = start(engine, OURS, case)
        found = ticket.result()
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu
    if not isinstance(found, MultiRexExplanation):
        raise TypeError(f"MultiReX returned {type(found).__name__}")
    family, _ = select_family([one.mask for one in found.explanations], OVERLAP)
    areas = [found.explanations[index].area_px for index in family]
    inputs = ticket.cost.model_inputs
    return Side(seconds, cpu_seconds, inputs, tuple(sorted(areas)), inputs * per_row)


def _of_tool(row: Row, seconds: float, per_row: float) -> Side:
    inputs = sum(row["inputs"].values())
    areas = [row["area_px"][index] for index in row["families"][str(OVERLAP)]]
    return Side(seconds, row.get("cpu_s"), inputs, tuple(sorted(areas)), inputs * per_row)


def _summary(pairs: Sequence[Pair], batch: int | None) -> Row:
    found: Row = {
        "images": len(pairs),
        "tool_batch": batch,
        "wall_ratio": spread([pair.ours.seconds / pair.tool.seconds for pair in pairs]),
        "ours": _one_side([pair.ours for pair in pairs]),
        "tool": _one_side([pair.tool for pair in pairs]),
        "area_px": _areas_at_equal_size(pairs),
    }
    cpu = [
        pair.ours.cpu_seconds / pair.tool.cpu_seconds
        for pair in pairs
        if pair.ours.cpu_seconds and pair.tool.cpu_seconds
    ]
    return found | ({"cpu_ratio": spread(cpu)} if cpu else {})


def _areas_at_equal_size(pairs: Sequence[Pair]) -> Row:
    """Compare the largest of as many smallest members as both families have, medians."""
    both = [(pair.ours.areas, pair.tool.areas) for pair in pairs]
    shared = [(ours, tool, min(len(ours), len(tool))) for ours, tool in both if ours and tool]
    return {
        "ours": statistics.median(ours[size - 1] for ours, _, size in shared),
        "tool": statistics.median(tool[size - 1] for _, tool, size in shared),
        "sizes": [size for _, _, size in shared],
    }


def _one_side(sides: Sequence[Side]) -> Row:
    return {
        "seconds": spread([side.seconds for side in sides]),
        "over_floor": spread([side.seconds / side.floor for side in sides]),
        "model_inputs": spread([float(side.model_inputs) for side in sides]),
        "two_or_more": round(sum(len(side.areas) > 1 for side in sides) / len(sides), 4),
        "family_sizes": [len(side.areas) for side in sides],
    }
