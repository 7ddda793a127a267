"""`LoadedClassifier`: one implementation of `Classifier` for every file format.

A format contributes a `Runner` (how raw outputs are computed fastest) and, where it has gradients,
a way to get them. Everything else is the same for all and lives here.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol, runtime_checkable

import torch
from torch import Tensor

from xaiserve.errors import InvalidInputError
from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.models.spec import ModelSpec
from xaiserve.models.tuning import (
    CPU_NEAR_TIE,
    CPU_SIZES,
    GPU_BATCH_COST_S,
    GPU_SIZES,
    NEAR_TIE,
    Calls,
    rows_per_batch,
    tuned,
)
from xaiserve.types import Images, Scores

OUTPUT_TOLERANCE: Final = 1e-4
"""Two files or two ways to run one network agree when no raw output differs by more than this,
relative to the largest output of the probe (and at least 1). Measured on two published networks:
2e-6 between onnxruntime, eager and channels-last torch."""

_PROBABILITY_SLACK: Final = 1e-3


@runtime_checkable
class Runner(Protocol):
    """How the raw outputs of one network are computed."""

    @property
    def device(self) -> torch.device: ...

    @property
    def threads(self) -> int:
        """Threads of the CPU pool it computes with."""
        ...

    @property
    def streams(self) -> int:
        """Callers at once with which it computes most; each has its part of the threads."""
        ...

    @property
    def fixed_rows(self) -> int | None:
        """The only batch size the network takes (smaller batches are padded); none when free."""
        ...

    def outputs(self, inputs: Images) -> Tensor:
        """Compute raw outputs (n, k), n >= 1, of normalised inputs on `device`."""
        ...


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedClassifier:
    """A classifier read from files, in one process, on one device.

    Parameters
    ----------
    name
        What people call it.
    spec, digest
        See `Classifier`.
    runner
        Computes the raw outputs.
    exact_runner
        Computes them in float32 where ``runner`` has fewer bits; none where it has not.
    differentiable
        Makes the same model with gradients, or raises `InvalidInputError`; called at most once
        with success.
    stated_rows
        The batch size to state instead of measuring one; none measures on first use.
    notes
        What loading decided (format, fast path or why not, ...), for people.
    """

    name: str
    spec: ModelSpec
    digest: str
    runner: Runner
    differentiable: Callable[[], DifferentiableClassifier]
    exact_runner: Runner | None = None
    stated_rows: int | None = None
    notes: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def device(self) -> torch.device:
        return self.runner.device

    @property
    def streams(self) -> int:
        return self.runner.streams

    @cached_property
    def batch_rows(self) -> int:
        """The stated batch size, or what a measurement of up to 2 s finds, once.

        On a CPU a batch is several calls of the network, of as many rows as its caches like.
        """
        if self._calls_are_batches:
            return self._stated or self._calls.rows
        return rows_per_batch(self._calls, self.streams)

    def score_inputs(self, inputs: Images, *, exact: bool = False) -> Scores:
        """See `Classifier.score_inputs`; the scores are a fresh tensor."""
        if not len(inputs):
            return torch.empty(0, self.spec.classes)
        runner = (self.exact_runner or self.runner) if exact else self.runner
        # Out of inference mode, so that callers get a tensor that autograd and they may write to.
        return _fetched(self.spec.probabilities(self._outputs(runner, inputs).clone()))

    def _outputs(self, runner: Runner, inputs: Images) -> Tensor:
        """Compute raw outputs (n, k) of inputs (n, c, h, w), call by call."""
        if self._calls_are_batches or len(inputs) == 1:
            return runner.outputs(inputs)
        calls = torch.split(inputs, self._calls.rows)
        return torch.cat([runner.outputs(call) for call in calls])

    @property
    def _stated(self) -> int | None:
        return self.runner.fixed_rows or self.stated_rows

    @property
    def _calls_are_batches(self) -> bool:
        return bool(self._stated) or self.device.type != "cpu"

    @cached_property
    def _calls(self) -> Calls:
        key = (self.digest, str(self.device), self.runner.threads, type(self.runner).__name__)
        shape = (self.spec.channels, self.spec.height, self.spec.width)
        cpu = self.device.type == "cpu"
        return tuned(
            key,
            lambda rows: _fetched(
                self.runner.outputs(torch.zeros(rows, *shape, device=self.device))
            ),
            callers=self.streams,
            sizes=CPU_SIZES if cpu else GPU_SIZES,
            cost_s=0.0 if cpu else GPU_BATCH_COST_S,
            near_tie=CPU_NEAR_TIE if cpu else NEAR_TIE,
            prepare=not cpu,
        )

    def scores(self, images: Images) -> Scores:
        """See `Classifier.scores`; scored `batch_rows` at a time."""
        return torch.cat(
            [
                self.score_inputs(self.spec.normalise(chunk.to(self.device)), exact=True)
                for chunk in torch.split(images, self.batch_rows)
            ]
        )

    def gradients(self) -> DifferentiableClassifier:
        """See `Classifier.gradients`; loaded on first use, then kept."""
        with self._lock:
            return self._gradients

    @cached_property
    def _gradients(self) -> DifferentiableClassifier:
        return self.differentiable()


def _fetched(scores: Tensor) -> Scores:
    """Bring scores to the CPU: one copy into page-locked memory, one wait, without spinning."""
    if scores.device.type != "cuda":
        return scores.cpu()
    host = torch.empty(scores.shape, pin_memory=True)
    host.copy_(scores, non_blocking=True)
    done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    done.record(torch.cuda.current_stream(scores.device))
    done.synchronize()
    return host


def probe(spec: ModelSpec) -> Images:
    """Make three pictures, always the same, that two ways to run a network are compared on.

    Waves of several lengths and directions: smooth like photographs, different in every channel.
    """
    down = torch.arange(spec.height, dtype=torch.float32).view(-1, 1)
    right = torch.arange(spec.width, dtype=torch.float32).view(1, -1)
    waves = [
        torch.cos((row + 1) * (down * (channel + 1) + right * (3 - channel)) / 16 + channel)
        for row in range(3)
        for channel in range(spec.channels)
    ]
    shape = (3, spec.channels, spec.height, spec.width)
    return (torch.stack(waves).view(shape) + 1) / 2


def difference(first: Tensor, second: Tensor) -> float:
    """Compare raw outputs (n, k): the largest difference, relative to the largest output or 1.

    Infinite when the shapes differ or a number is not finite.
    """
    if first.shape != second.shape or not bool(torch.isfinite(first - second).all()):
        return math.inf
    scale = max(1.0, float(second.abs().max()))
    return float((first - second).abs().max()) / scale


def check_outputs(spec: ModelSpec, outputs: Tensor, what: str) -> None:
    """Refuse a network whose answer to the probe does not fit its specification.

    Raises
    ------
    InvalidInputError
        The number of columns is not the number of labels, or the specification says that outputs
        are probabilities already and they lie outside [0, 1].
    """
    if outputs.ndim != 2 or outputs.shape[1] != spec.classes:  # noqa: PLR2004
        raise InvalidInputError(
            f"{what} answers {tuple(outputs.shape)} to {len(outputs)} pictures, but its "
            f"specification names {spec.classes} labels, so (n, {spec.classes}) was expected"
        )
    low, high = float(outputs.min()), float(outputs.max())
    if spec.activation == "none" and (low < -_PROBABILITY_SLACK or high > 1 + _PROBABILITY_SLACK):
        raise InvalidInputError(
            f"activation of {what} must be softmax or sigmoid: it is none, but the outputs reach "
            f"from {low:.3g} to {high:.3g}, so they are no probabilities"
        )
