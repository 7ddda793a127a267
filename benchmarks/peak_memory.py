"""``peak-memory``: what 64 images in flight take above the bare model.

Two fresh processes: one scores batches with the bare model, one explains 64 images at once with
the default search, stopped after a while. Compared are their largest resident sets (``VmHWM`` of
Linux).
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import torch

from benchmarks.common import MOBILENET, Report, correct_cases, need_data, report
from xaiserve.api import start
from xaiserve.explainers.multirex import MultiRex
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Limits

BAR_GIB: Final = 1.5
IN_FLIGHT: Final = 64
THREADS: Final = 2
QUICK_S: Final = 15.0
"""Enough for the first questions, which hold most rows."""

FULL_S: Final = 240.0

_GIB: Final = 1 << 30
_BARE: Final = "bare"


def run(quick: bool) -> Report:
    """Measure both in processes of their own; ``quick`` stops the searches sooner."""
    need_data()
    seconds = QUICK_S if quick else FULL_S
    bare, flying = (_peak(what) for what in (_BARE, str(seconds)))
    above = (flying - bare) / _GIB
    return report(
        round(above, 3),
        f"< {BAR_GIB} GiB above the bare model",
        holds=above < BAR_GIB,
        figures={
            "bare_gib": round(bare / _GIB, 3),
            "in_flight_gib": round(flying / _GIB, 3),
            "images_in_flight": IN_FLIGHT,
            "seconds_in_flight": seconds,
        },
    )


def _peak(what: str) -> int:
    """Run this file as a process; it prints the bytes of its largest resident set."""
    told = subprocess.run(  # noqa: S603 -- our own command
        [sys.executable, "-m", "benchmarks.peak_memory", what],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return int(told.split()[-1])


def _measure(what: str) -> None:
    model = load_classifier(MOBILENET / "model.onnx", threads=THREADS)
    cases = correct_cases(model, IN_FLIGHT)
    if what == _BARE:
        shape = (model.batch_rows, model.spec.channels, model.spec.height, model.spec.width)
        for _ in range(10):
            model.score_inputs(torch.rand(shape))
    else:
        # All of them at once, which the engine's own limit on bytes would not allow.
        with Engine(model, admit_bytes=16 << 30) as engine:
            limits = Limits(max_seconds=float(what))
            tickets = [start(engine, MultiRex(), case, limits=limits) for case in cases]
            for ticket in tickets:
                ticket.future.exception()
    print(_largest_resident_set())


def _largest_resident_set() -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    if found is None:
        raise RuntimeError("this benchmark reads VmHWM, which only Linux tells")
    return int(found[1]) << 10


if __name__ == "__main__":
    _measure(sys.argv[1])
