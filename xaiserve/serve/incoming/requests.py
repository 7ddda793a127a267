"""What the routes ask of a classifier, free of HTTP and of Ray."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

from jaxtyping import UInt8
from torch import Tensor

from xaiserve.explainers.base import Explainer
from xaiserve.perturb.ticket import Limits
from xaiserve.report.subject import FrameName
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.bodies.lists import ModelBody
from xaiserve.serve.bodies.scores import PredictBody
from xaiserve.serve.bodies.told import Told
from xaiserve.serve.incoming.request_ids import request_id
from xaiserve.types import Images, Scores

Offered = Literal["blur", "inpaint"]
"""Contrast pictures that any request may ask for, whatever the model has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A picture as it came, undecoded: decoding happens once, where the model's size is known.

    Parameters
    ----------
    data
        The file's bytes.
    name
        The client's name for it; only for people.
    value_range
        What becomes 0 and 1 in 16-bit and float grey; the file type's range when none.
    """

    data: bytes
    name: str = ""
    value_range: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """Score one picture and name the ``top`` classes."""

    upload: Upload
    top: int = 5
    request_id: str = field(default_factory=request_id, compare=False)


Pictures = Images | UInt8[Tensor, "n h w c"] | tuple[Upload, ...]
"""Pictures of the model's size in image units, or of 8 bits; or files, of any size."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ScoreRequest:
    """Score pictures together.

    Parameters
    ----------
    pictures
        At least one.
    alone
        Score each in a batch of its own and in float32, so that company cannot move its scores.
    """

    pictures: Pictures
    alone: bool = False


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Scored:
    """The scores of all classes, a row per picture, and of which model they are."""

    scores: Scores
    model_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest:
    """Explain one picture.

    Parameters
    ----------
    target
        Class index or label; the class ranked first when none.
    limits
        What the method may spend; time spent waiting for a place counts.
    frame
        The pixels that masks and saliency refer to: the model's input or the original picture.
    overlay, saliency
        What to send besides masks: a picture of the result (and the contrast picture, where there
        is one), the whole map.
    contrast
        The contrast picture as it came, or what shall make it; the model's own when none.
    """

    upload: Upload
    explainer: Explainer
    target: str | None = None
    seed: int = 0
    limits: Limits
    frame: FrameName = "model"
    overlay: bool = True
    saliency: bool = False
    contrast: Upload | Offered | None = None
    request_id: str = field(default_factory=request_id, compare=False)


@runtime_checkable
class ClassifierPort(Protocol):
    """One model as the routes see it: `ClassifierServer` here, or a handle to its replicas."""

    async def card(self) -> ModelBody:
        """Describe the model; an answer means that it is ready."""
        ...

    async def predict(self, request: PredictRequest) -> PredictBody: ...

    async def score(self, request: ScoreRequest) -> Scored: ...

    async def explain(self, request: ExplainRequest) -> ExplainBody: ...

    def stream(self, request: ExplainRequest) -> AsyncGenerator[Told, None]:
        """Explain, and tell of it meanwhile; the last thing told is what `explain` returns.

        Closing it stops the plan within one batch.
        """
        ...
