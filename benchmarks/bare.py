"""The floor: an ONNX classifier on prepared input and nothing else, in its best way.

That is one onnxruntime session on all threads, called again and again, or as many callers of a
session on one thread each, at the batch size at which most rows go through.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

import onnxruntime
import torch

BATCHES: Final = (1, 2, 4, 8, 16, 32)


class Speed(NamedTuple):
    """Rows per second, and per second of this process's CPU time."""

    wall: float
    cpu: float


class Clock:
    """Turns rows into speeds, from when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._wall

    def speed(self, rows: int) -> Speed:
        return Speed(rows / self.seconds, rows / (time.process_time() - self._cpu))


class Way(NamedTuple):
    """A way to run the bare model: a session, callers at once, and a batch size."""

    session: Any  # onnxruntime has no types
    callers: int
    batch: int

    @property
    def name(self) -> str:
        return f"{self.callers} callers, batch {self.batch}"

    def speed(self, seconds: float) -> Speed:
        """Run it for so long."""
        picture = self.session.get_inputs()[0]
        inputs = torch.rand(self.batch, *picture.shape[1:]).numpy()
        clock = Clock()

        def call() -> int:
            rows = 0
            while clock.seconds < seconds:
                self.session.run(None, {picture.name: inputs})
                rows += self.batch
            return rows

        with ThreadPoolExecutor(self.callers) as pool:
            callers = [pool.submit(call) for _ in range(self.callers)]
            return clock.speed(sum(caller.result() for caller in callers))


def best_way(onnx: Path, threads: int, seconds: float) -> tuple[Way, dict[str, float]]:
    """Try every way for ``seconds``; return the fastest, and the rows per second of all."""
    sessions = [(_session(onnx, threads), 1), (_session(onnx, 1), threads)]
    ways = [Way(session, callers, batch) for session, callers in sessions for batch in BATCHES]
    rates = {way: round(way.speed(seconds).wall, 1) for way in ways}
    best = max(rates, key=lambda way: rates[way])
    return best, {way.name: rate for way, rate in rates.items()}


def _session(onnx: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])
