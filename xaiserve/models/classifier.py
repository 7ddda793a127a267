"""What the rest of the project knows about a model: two protocols."""

from typing import Protocol, runtime_checkable

import torch

from xaiserve.models.spec import ModelSpec
from xaiserve.types import Images, Scores


@runtime_checkable
class Classifier(Protocol):
    """A black box: images in, probabilities out."""

    @property
    def name(self) -> str: ...

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def digest(self) -> str:
        """Sha256 of what decides the scores: weights and specification."""
        ...

    @property
    def device(self) -> torch.device: ...

    @property
    def streams(self) -> int:
        """Threads that score batches at once, for most rows per second; 1 on a GPU."""
        ...

    @property
    def batch_rows(self) -> int:
        """Rows to hand over at once, for most rows per second on its device."""
        ...

    def score_inputs(self, inputs: Images, *, exact: bool = False) -> Scores:
        """Score *normalised* pictures on `device`, (n, c, h, w) -> (n, k) float32 on the CPU.

        As many threads at once as there are `streams` may call it. Keeps no reference to
        ``inputs``; callers reuse the buffer. With ``exact`` it computes in float32 even where it
        otherwise computes in fewer bits (`models.precision`): for sets that are about to be
        released, and decisions that a hair's breadth could turn.
        """
        ...

    def scores(self, images: Images) -> Scores:
        """Score pictures in image units, (n, c, h, w) in [0, 1] -> (n, k) float32, exactly."""
        ...

    def gradients(self) -> "DifferentiableClassifier":
        """Return the same model with gradients.

        Raises
        ------
        InvalidInputError
            The format has none (ONNX); the sentence says which formats have.
        """
        ...


@runtime_checkable
class DifferentiableClassifier(Protocol):
    """A classifier whose logits carry gradients back to the pixels."""

    @property
    def spec(self) -> ModelSpec: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def module(self) -> torch.nn.Module:
        """The network, from normalised inputs (n, c, h, w) to raw outputs (n, k)."""
        ...

    def logits(self, images: Images) -> Scores:
        """Raw outputs (n, k) on `device` for pictures in image units, with gradients."""
        ...
