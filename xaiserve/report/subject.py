"""`Subject`: what is explained and by what, as every document says it."""

from dataclasses import dataclass
from typing import Any, Literal

import torch

from xaiserve.explainers.base import Explainer
from xaiserve.models.classifier import Classifier
from xaiserve.models.frame import Frame
from xaiserve.perturb.case import Case
from xaiserve.types import Region, Saliency, Scores

Document = dict[str, Any]
"""JSON: nested dictionaries, lists, numbers, text, flags and None."""  # hence Any

FrameName = Literal["model", "original"]
"""Whose pixels masks and maps have: the model's input, or the original picture."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Subject:
    """What is explained and by what: all that a document says whatever the method finds.

    Parameters
    ----------
    case
        Read from a picture: it has a frame.
    scores
        (1, k): the model's answer to the whole image.
    frame_name
        The pixels that masks and maps refer to.

    Raises
    ------
    ValueError
        The case has no frame.
    """

    classifier: Classifier
    explainer: Explainer
    seed: int
    case: Case
    scores: Scores
    frame_name: FrameName = "model"

    def __post_init__(self) -> None:
        if self.case.frame is None:
            raise ValueError(f"case {self.case.name or self.case.image_id} must have a frame")

    @property
    def frame(self) -> Frame:
        assert self.case.frame is not None  # noqa: S101 -- refused at construction
        return self.case.frame

    def mask(self, mask: Region) -> torch.Tensor:
        """Carry a mask to the pixels of the document."""
        return mask if self.frame_name == "model" else self.frame.mask_to_original(mask)

    def saliency(self, saliency: Saliency) -> torch.Tensor:
        """Carry a map to the pixels of the document."""
        return saliency if self.frame_name == "model" else self.frame.to_original(saliency)
