"""From explanations to bodies: the document of the report, and what only HTTP has beside it."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from PIL import Image as PillowImage

from xaiserve.explainers.base import Explanation
from xaiserve.models.spec import ModelSpec
from xaiserve.perturb.case import Case
from xaiserve.perturb.ticket import Cost
from xaiserve.report.document import class_document, explanation_document, none_document
from xaiserve.report.drawing import to_picture
from xaiserve.report.subject import Document, Subject
from xaiserve.serve.bodies.explanations import ExplainBody, OverlayBody
from xaiserve.serve.bodies.scores import ClassBody
from xaiserve.serve.incoming.requests import ExplainRequest
from xaiserve.storage.pictures import PictureLimits, decode, encode_png
from xaiserve.types import Scores


@runtime_checkable
class Draw(Protocol):
    """Makes the PNG of one explanation, over the model's input or over the original picture."""

    def __call__(
        self, case: Case, explanation: Explanation, *, original: PillowImage.Image | None = None
    ) -> bytes: ...


def decided_classes(scores: Scores, spec: ModelSpec) -> list[ClassBody]:
    """Name the classes that the model's rule decides for, of one row (1, k)."""
    if spec.rule.thresholds:
        indices = (scores[0] >= torch.tensor(spec.rule.thresholds)).nonzero().flatten().tolist()
    else:
        indices = [int(scores[0].argmax())]
    return [ClassBody(**class_document(index, spec)) for index in indices]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answer:
    """An answer to an explain request, once the picture is scored and the method has run.

    ``waited_s`` is the time spent in the queue.
    """

    request: ExplainRequest
    subject: Subject
    waited_s: float
    limits: PictureLimits
    draw: Draw

    def none(self, reason: str, cost: Cost) -> ExplainBody:
        """Say that the method has no answer, and why."""
        return self._body(none_document(self.subject, reason, cost))

    def explained(self, explanation: Explanation, cost: Cost) -> ExplainBody:
        """Describe what the method has found; draws and encodes, so not on an event loop."""
        request = self.request
        document = explanation_document(self.subject, explanation, cost, whole_map=request.saliency)
        return self._body(document, self._overlays(explanation) if request.overlay else [])

    def _body(self, document: Document, overlays: Sequence[OverlayBody] = ()) -> ExplainBody:
        cost = document["cost"] | {"waited_seconds": self.waited_s}
        return ExplainBody(**document | {"cost": cost, "overlays": overlays})

    def _overlays(self, explanation: Explanation) -> list[OverlayBody]:
        drawn = [_overlay("overlay", self._drawn(explanation))]
        contrast = self.subject.case.contrast
        if contrast is not None:
            drawn.append(_overlay("contrast", encode_png(to_picture(contrast.image))))
        return drawn

    def _drawn(self, explanation: Explanation) -> bytes:
        case, upload = self.subject.case, self.request.upload
        if self.request.frame == "model":
            return self.draw(case, explanation)
        # Within the limits, or there would be no case; decoding again is cheaper than keeping it.
        picture = decode(upload.data, limits=self.limits, value_range=upload.value_range)
        return self.draw(case, explanation, original=picture.image)


def _overlay(kind: Literal["overlay", "contrast"], png: bytes) -> OverlayBody:
    return OverlayBody(kind=kind, data=base64.b64encode(png).decode())
