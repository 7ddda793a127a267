"""``engine-ceiling``: rows composed and scored per second in searches over an almost free model.

The model is a strided slice and one linear layer (`slice_model`), so that what is measured is the
search, the composing and the answering. The bar compares whole searches with the reference tool's,
on the same file in the same run, in turn, at the threads and the batch size that suit it best.

Beside that ratio stand the one with its responsibility phase alone, where it is fastest, and those
of rows per CPU second, which other users of the machine move less.
"""

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.common import Report, report, spread
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


class Speed(NamedTuple):
    """Rows per second, and per second of CPU time of the process."""

    wall: float
    cpu: float


class ToolSpeed(NamedTuple):
    """Of the reference tool: the whole search, and its responsibility phase alone."""

    whole: Speed
    responsibility: Speed


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
        threads, batch = max(rates, key=lambda way: rates[way].whole.wall)
        _search(model, cases, limits)  # the first run also pays for imports and tuning
        pairs = [
            (_search(model, cases, limits), _tool(tools[threads], image, batch))
            for _ in range(PAIRS)
        ]
    ratio = spread([ours.wall / tool.whole.wall for ours, tool in pairs])
    phase = [(ours, tool.responsibility) for ours, tool in pairs]
    value = ratio["median"]
    return report(
        value,
        f">= {BAR}",
        holds=value >= BAR,
        figures={
            "ratio": ratio,
            "cpu_ratio": spread([ours.cpu / tool.whole.cpu for ours, tool in pairs]),
            "ratio_to_responsibility": spread([ours.wall / tool.wall for ours, tool in phase]),
            "cpu_ratio_to_responsibility": spread([ours.cpu / tool.cpu for ours, tool in phase]),
            "rows_per_s": spread([ours.wall for ours, _ in pairs]),
            "rows_per_cpu_s": spread([ours.cpu for ours, _ in pairs]),
            "tool_rows_per_s": spread([tool.whole.wall for _, tool in pairs]),
            "tool_rows_per_s_responsibility": spread([tool.wall for _, tool in phase]),
            "tool_threads": threads,
            "tool_batch": batch,
            "threads": THREADS,
            "engine_batch": model.batch_rows,
            "images_in_flight": IN_FLIGHT,
        },
    )


def _search(model: LoadedClassifier, cases: list[Case], limits: Limits) -> Speed:
    with Engine(model) as engine:
        begun, cpu = time.perf_counter(), time.process_time()
        tickets = [start(engine, OURS, case, limits=limits) for case in cases]
        for ticket in tickets:
            ticket.result()
        seconds, cpu_seconds = time.perf_counter() - begun, time.process_time() - cpu
    rows = sum(ticket.cost.model_inputs for ticket in tickets)
    return Speed(rows / seconds, rows / cpu_seconds)


def _tool(tool: Rex, image: Path, batch: int) -> ToolSpeed:
    told = tool.explain(image, batch=batch)
    rows, first = sum(told["inputs"].values()), told["inputs"]["responsibility"]
    return ToolSpeed(
        Speed(rows / told["wall_s"], rows / told["cpu_s"]),
        Speed(first / told["responsibility_s"], first / told["responsibility_cpu_s"]),
    )
