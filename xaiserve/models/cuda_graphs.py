"""CUDA graphs: a network's kernels recorded once per batch size, then started all at once.

Started one by one from Python, the kernels of a network for small pictures come slower than the GPU
finishes them. A recording is bound to one batch size and to its own buffers: rows are copied in,
and smaller batches are padded to the next recorded size.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from xaiserve.errors import ClassifierFaultError
from xaiserve.models.torch_classifier import TorchRunner
from xaiserve.models.tuning import GPU_SIZES
from xaiserve.types import Images

Replay = Callable[[], Tensor]
"""Computes the outputs of what lies in the buffer it was recorded with; the next call overwrites
them."""

Record = Callable[[Tensor], Replay]
"""Records how a network computes the outputs of the given buffer, whatever will lie in it."""

_WARM_UPS: Final = 3
"""Runs before recording, in which libraries choose their kernels and take their workspaces."""


@dataclass(frozen=True, eq=False, kw_only=True)
class GraphRunner:
    """Runs a network from recordings, made when a batch size first occurs; one thread at a time.

    Parameters
    ----------
    runner
        The network as it runs without recordings.
    record
        Records it; `cuda_recorder` makes one.
    sizes
        Batch sizes to record, ascending; larger batches are scored in pieces.
    """

    runner: TorchRunner
    record: Record
    sizes: tuple[int, ...] = GPU_SIZES
    _recorded: dict[int, tuple[Tensor, Replay]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def device(self) -> torch.device:
        return self.runner.device

    @property
    def threads(self) -> int:
        return self.runner.threads

    @property
    def streams(self) -> int:
        return 1

    @property
    def fixed_rows(self) -> int | None:
        return None

    @property
    def recorded_sizes(self) -> tuple[int, ...]:
        """The batch sizes that were recorded so far, ascending."""
        return tuple(sorted(self._recorded))

    def outputs(self, inputs: Images) -> Tensor:
        """Compute raw outputs (n, k), a fresh tensor.

        Raises
        ------
        ClassifierFaultError
            The network raised, or does what cannot be recorded (it looks at its values).
        """
        return torch.cat([self._run(chunk) for chunk in torch.split(inputs, self.sizes[-1])])

    def _run(self, chunk: Images) -> Tensor:
        size = next(size for size in self.sizes if size >= len(chunk))
        if size not in self._recorded:
            self._recorded[size] = self._make(size, chunk)
        buffer, replay = self._recorded[size]
        # The rows behind these hold what came before: they are scored and not looked at.
        buffer[: len(chunk)].copy_(chunk)
        return replay()[: len(chunk)].clone()

    def _make(self, size: int, like: Images) -> tuple[Tensor, Replay]:
        buffer = torch.zeros(size, *like.shape[1:], device=self.device)
        buffer = buffer.contiguous(memory_format=self.runner.layout)
        return buffer, self.record(buffer)


def cuda_recorder(runner: TorchRunner) -> Record:
    """Make what records ``runner`` on its GPU; its recordings share their working memory.

    They may share it because they run one after the other on one stream; their outputs are held,
    so no recording works in the memory of another's outputs.
    """
    pool = torch.cuda.graph_pool_handle()

    def record(buffer: Tensor) -> Replay:
        with torch.cuda.device(runner.device):
            _warm_up(runner, buffer)
            graph = torch.cuda.CUDAGraph()
            try:
                # Other threads may go on allocating memory while this one records.
                with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
                    outputs = runner.outputs(buffer)
            except torch.OutOfMemoryError:
                raise
            # Ending a recording that failed raises too, and hides why.
            except RuntimeError as error:
                raise ClassifierFaultError(f"the network cannot be recorded: {error}") from error

        def replay() -> Tensor:
            graph.replay()
            return outputs

        return replay

    return record


def _warm_up(runner: TorchRunner, buffer: Tensor) -> None:
    """Run on a stream of its own, as recording will, and wait."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            runner.outputs(buffer)
    side.synchronize()
