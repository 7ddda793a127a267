"""``engine-efficiency-16``: rows scored per second inside searches over the bare model's best.

The floor is the model itself on prepared input, in the way and at the batch size that are best in
this process: one onnxruntime session on all threads, called again and again, or as many callers of
a session on one thread each. Searches run sixteen at a time on one engine; their tail, when fewer
are left, is included. All use the same file and number of threads.

Beside the ratio of rates stands the ratio of CPU seconds per row, bare over inside: on a machine
that others use it moves less, and it tells computing beside the model from waiting.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import onnxruntime
import torch

from benchmarks.common import (
    MOBILENET,
    Report,
    correct_cases,
    need_data,
    report,
    spread,
)
from xaiserve.api import start
from xaiserve.explainers.multirex import MultiRex
from xaiserve.models.loaded import LoadedClassifier
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.case import Case
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Limits

BAR: Final = 0.95
IN_FLIGHT: Final = 16
PAIRS: Final = 5
BATCHES: Final = (1, 2, 4, 8, 16, 32)
THREADS: Final = 2
SIDE: Final = 224

FULL: Final = MultiRex()
QUICK: Final = MultiRex(iterations=2, pool=False, pairs=False, exclude=False, prune=False)
"""Asks fewer rows at once, so that few inputs are many rounds."""

FULL_INPUTS: Final = 600
QUICK_INPUTS: Final = 64
"""Model inputs per image; the searches are stopped there."""


class Speed(NamedTuple):
    """Rows per second, and per second of this process's CPU time."""

    wall: float
    cpu: float


class _Clock:
    """Turns rows into speeds, from when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._wall

    def speed(self, rows: int) -> Speed:
        return Speed(rows / self.seconds, rows / (time.process_time() - self._cpu))


def run(quick: bool) -> Report:
    """Measure five interleaved pairs; ``quick`` searches less far."""
    need_data()
    model = load_classifier(MOBILENET / "model.onnx", threads=THREADS)
    cases = correct_cases(model, IN_FLIGHT)
    explainer = QUICK if quick else FULL
    limits = Limits(max_inputs=QUICK_INPUTS if quick else FULL_INPUTS)
    best, rates = _best_way(seconds=0.3 if quick else 1.5)
    seconds = 1.5 if quick else 8.0
    pairs = [(_search(model, explainer, limits, cases), _bare(best, seconds)) for _ in range(PAIRS)]
    ratio = spread([inside.wall / bare.wall for inside, bare in pairs])
    value = ratio["median"]
    return report(
        value,
        f">= {BAR}",
        holds=value >= BAR,
        figures={
            "ratio": ratio,
            "cpu_ratio": spread([inside.cpu / bare.cpu for inside, bare in pairs]),
            "rows_per_s_inside": spread([inside.wall for inside, _ in pairs]),
            "rows_per_s_bare": spread([bare.wall for _, bare in pairs]),
            "bare": best.name,
            "bare_rows_per_s": rates,
            "engine_batch": model.batch_rows,
            "images_in_flight": IN_FLIGHT,
            "threads": THREADS,
        },
    )


class _Way(NamedTuple):
    """A way to run the bare model: its sessions' threads, callers at once, and batch size."""

    session: Any  # onnxruntime has no types
    callers: int
    batch: int

    @property
    def name(self) -> str:
        return f"{self.callers} callers, batch {self.batch}"


def _ways() -> list[_Way]:
    sessions = [(_session(THREADS), 1), (_session(1), THREADS)]
    return [_Way(session, callers, batch) for session, callers in sessions for batch in BATCHES]


def _session(threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    return onnxruntime.InferenceSession(str(MOBILENET / "model.onnx"), options, providers=providers)


def _bare(way: _Way, seconds: float) -> Speed:
    inputs = torch.rand(way.batch, 3, SIDE, SIDE).numpy()
    name, clock = way.session.get_inputs()[0].name, _Clock()

    def call() -> int:
        rows = 0
        while clock.seconds < seconds:
            way.session.run(None, {name: inputs})
            rows += way.batch
        return rows

    with ThreadPoolExecutor(way.callers) as pool:
        callers = [pool.submit(call) for _ in range(way.callers)]
        return clock.speed(sum(caller.result() for caller in callers))


def _best_way(seconds: float) -> tuple[_Way, dict[str, float]]:
    rates = {way: round(_bare(way, seconds).wall, 1) for way in _ways()}
    best = max(rates, key=lambda way: rates[way])
    return best, {way.name: rate for way, rate in rates.items()}


def _search(
    model: LoadedClassifier, explainer: MultiRex, limits: Limits, cases: list[Case]
) -> Speed:
    with Engine(model) as engine:
        clock = _Clock()
        tickets = [start(engine, explainer, case, limits=limits) for case in cases]
        for ticket in tickets:
            ticket.result()
        return clock.speed(sum(ticket.cost.model_inputs for ticket in tickets))
