"""``engine-ceiling``: rows composed and scored per second in searches over an almost free model.

The model is a strided slice and one linear layer (`slice_model`), so that what is measured is the
search, the composing and the answering. The bar compares with the reference tool on the same file
in the same run, in turn: with its responsibility phase, where it is fastest, at the threads and the
batch size that suit it best.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.common import Report, interleaved, report, spread
from benchmarks.rex import Rex, write_input
from benchmarks.slice_model import slice_cases, write_slice_model
from xaiserve.api import start
from xaiserve.explainers.multirex import MultiRex
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Limits

BAR: Final = 5.0
IN_FLIGHT: Final = 16
PAIRS: Final = 5
THREADS: Final = 2
OURS: Final = MultiRex()

WAYS: Final = ((1, 16), (1, 64), (2, 16), (2, 64))
"""Threads and batch sizes at which the tool is tried; with batch 1 it is slower by far."""

QUICK_WAYS: Final = ((1, 16),)
QUICK_INPUTS: Final = 500
"""Model inputs per image when quick: the searches are stopped there."""


def run(quick: bool) -> Report:
    """Measure five interleaved pairs; ``quick`` searches less far."""
    cases = slice_cases(IN_FLIGHT)
    limits = Limits(max_inputs=QUICK_INPUTS if quick else None)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        onnx = write_slice_model(folder)
        model = load_classifier(onnx, threads=THREADS)
        image = write_input(cases[0], model, folder)
        tools = {threads: stack.enter_context(Rex(onnx, threads)) for threads, _ in WAYS}
        ways = QUICK_WAYS if quick else WAYS
        rates = {way: _tool(tools[way[0]], image, way[1]) for way in ways}
        threads, batch = max(rates, key=lambda way: rates[way])
        _search(model, cases, limits)  # the first run also pays for imports and tuning
        ours, tool = interleaved(
            lambda: _search(model, cases, limits),
            lambda: _tool(tools[threads], image, batch),
            PAIRS,
        )
        whole = None if quick else _tool_whole(tools[threads], image, batch)
    ratios = [a / b for a, b in zip(ours, tool, strict=True)]
    value = spread(ratios)["median"]
    return report(
        value,
        f">= {BAR}",
        holds=value >= BAR,
        figures={
            "ratio": spread(ratios),
            "rows_per_s": spread(ours),
            "tool_rows_per_s": spread(tool),
            "tool_threads": threads,
            "tool_batch": batch,
            "tool_rows_per_s_whole_search": whole,
            "threads": THREADS,
            "engine_batch": model.batch_rows,
            "images_in_flight": IN_FLIGHT,
        },
    )


def _search(model: LoadedClassifier, cases: list[Case], limits: Limits) -> float:
    with Engine(model) as engine:
        begun = time.perf_counter()
        tickets = [start(engine, OURS, case, limits=limits) for case in cases]
        for ticket in tickets:
            ticket.result()
        seconds = time.perf_counter() - begun
    return sum(ticket.cost.model_inputs for ticket in tickets) / seconds


def _tool(tool: Rex, image: Path, batch: int) -> float:
    """Measure the tool's responsibility phase, in rows per second."""
    told = tool.explain(image, batch=batch, spotlights=1)
    rate: float = told["inputs"]["responsibility"] / told["responsibility_s"]
    return rate


def _tool_whole(tool: Rex, image: Path, batch: int) -> float:
    told = tool.explain(image, batch=batch)
    rate: float = sum(told["inputs"].values()) / told["wall_s"]
    return round(rate, 1)
