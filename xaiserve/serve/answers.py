"""From explanations to bodies: masks as run lengths, maps and pictures as base64."""

import base64
import dataclasses
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from PIL import Image as PillowImage

from xaiserve.explainers.base import Explainer, Explanation
from xaiserve.models.classifier import Classifier
from xaiserve.models.frame import Frame
from xaiserve.models.spec import ModelSpec
from xaiserve.parameters import parameters_of
from xaiserve.perturb.case import Case
from xaiserve.perturb.ticket import Cost
from xaiserve.serve.requests import ExplainRequest, FrameName
from xaiserve.serve.schemas import (
    Body,
    ClassBody,
    CostBody,
    ExplainBody,
    FrameBody,
    OverlayBody,
    PointBody,
    RleBody,
    SaliencyBody,
    Scalar,
    ScoreBody,
    SetBody,
)
from xaiserve.storage.pictures import PictureLimits, decode
from xaiserve.storage.rle import mask_to_rle
from xaiserve.types import Region, Saliency, Scores

TOP = 5
"""Classes named beside an explanation."""


@runtime_checkable
class Draw(Protocol):
    """Makes the PNG of one explanation, over the model's input or over the original picture."""

    def __call__(
        self, case: Case, explanation: Explanation, *, original: PillowImage.Image | None = None
    ) -> bytes: ...


@runtime_checkable
class _Set(Protocol):
    @property
    def mask(self) -> Region: ...
    @property
    def confidence(self) -> float: ...
    @property
    def kind(self) -> str: ...


@runtime_checkable
class HasSets(Protocol):
    """An explanation that holds sets of pixels, whatever its method."""

    @property
    def explanations(self) -> tuple[_Set, ...]: ...
    @property
    def selected(self) -> tuple[int, ...]: ...


@dataclass(frozen=True, slots=True)
class View:
    """The pixels that an answer speaks of: maps and masks leave it at that size."""

    name: FrameName
    frame: Frame

    def mask(self, mask: Region) -> torch.Tensor:
        return mask if self.name == "model" else self.frame.mask_to_original(mask)

    def saliency(self, saliency: Saliency) -> torch.Tensor:
        return saliency if self.name == "model" else self.frame.to_original(saliency)

    @property
    def body(self) -> FrameBody:
        frame = dataclasses.asdict(self.frame)
        if self.name == "original":
            frame |= {"height": self.frame.original_height, "width": self.frame.original_width}
        return FrameBody(name=self.name, **frame)


def set_bodies(explanation: HasSets, view: View) -> list[SetBody]:
    """Describe every set; areas count pixels of the view."""
    chosen = set(explanation.selected)
    return [
        _set_body(found, view.mask(found.mask), selected=index in chosen)
        for index, found in enumerate(explanation.explanations)
    ]


def _set_body(found: _Set, mask: Region, *, selected: bool) -> SetBody:
    area = int(mask.sum())
    return SetBody(
        mask=RleBody(**mask_to_rle(mask)),
        area_px=area,
        area_fraction=area / mask.numel(),
        confidence=found.confidence,
        kind=found.kind,
        selected=selected,
        details=details(found, SetBody),
    )


def details(found: object, body: type[Body]) -> dict[str, Scalar]:
    """Collect the plain values of a result that ``body`` has no field for."""
    own = {field.name for field in dataclasses.fields(found)} - {*body.model_fields, "explainer"}  # type: ignore[arg-type]
    values = {name: getattr(found, name) for name in sorted(own)}
    return {name: value for name, value in values.items() if isinstance(value, Scalar)}


def saliency_body(saliency: Saliency, *, whole: bool) -> SaliencyBody:
    """Summarise a map (h, w); with ``whole``, send every value as well, exactly."""
    row, column = divmod(int(saliency.argmax()), saliency.shape[1])
    values = saliency.numpy().astype("<f4").tobytes() if whole else None
    return SaliencyBody(
        shape=list(saliency.shape),
        minimum=float(saliency.min()),
        maximum=float(saliency.max()),
        peak=PointBody(row=row, column=column),
        dtype=None if values is None else "<f4",
        data=None if values is None else base64.b64encode(values).decode(),
    )


def overlay_body(png: bytes) -> OverlayBody:
    """Wrap a PNG."""
    return OverlayBody(kind="overlay", data=base64.b64encode(png).decode())


def cost_body(cost: Cost, waited_s: float) -> CostBody:
    """Tell the method's cost; why it stopped is told beside it."""
    spent = dataclasses.asdict(cost)
    del spent["stopped"]
    return CostBody(waited_seconds=waited_s, **spent)


def top_scores(scores: Scores, spec: ModelSpec, top: int) -> list[ScoreBody]:
    """Name the ``top`` classes of one row (1, k), best first, the lower index of equals first."""
    order = torch.argsort(scores[0], descending=True, stable=True)[:top].tolist()
    return [
        ScoreBody(index=index, label=spec.labels[index], score=float(scores[0, index]))
        for index in order
    ]


def decided_classes(scores: Scores, spec: ModelSpec) -> list[ClassBody]:
    """Name the classes that the model's rule decides for, of one row (1, k)."""
    if spec.rule.thresholds:
        indices = (scores[0] >= torch.tensor(spec.rule.thresholds)).nonzero().flatten().tolist()
    else:
        indices = [int(scores[0].argmax())]
    return [class_body(index, spec) for index in indices]


def class_body(index: int, spec: ModelSpec) -> ClassBody:
    """Name one class."""
    return ClassBody(index=index, label=spec.labels[index])


def parameter_values(explainer: Explainer) -> dict[str, Any]:  # Any: JSON
    """List the values that a method runs with, defaults included."""
    values = {p.name: getattr(explainer, p.name) for p in parameters_of(type(explainer))}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to an explain request, once the picture is scored and the method has run.

    ``scores`` is (1, k), of the whole picture; ``waited_s`` the time spent in the queue.
    """

    classifier: Classifier
    request: ExplainRequest
    case: Case
    scores: Scores
    waited_s: float
    limits: PictureLimits
    draw: Draw

    @property
    def view(self) -> View:
        assert self.case.frame is not None  # noqa: S101 -- a case read from a file has one
        return View(self.request.frame, self.case.frame)

    def none(self, reason: str, cost: Cost) -> ExplainBody:
        """Say that the method has no answer, and why."""
        return self._common(cost).model_copy(update={"outcome": "none", "reason": reason})

    def explained(self, explanation: Explanation, cost: Cost) -> ExplainBody:
        """Describe what the method has found; draws and encodes, so not on an event loop."""
        view, request = self.view, self.request
        found: dict[str, object] = {
            "details": details(explanation, ExplainBody),
            "saliency": saliency_body(view.saliency(explanation.saliency), whole=request.saliency),
        }
        if isinstance(explanation, HasSets):
            found["explanations"] = set_bodies(explanation, view)
            found["selected"] = list(explanation.selected)
        if request.overlay:
            found["overlays"] = [overlay_body(self._drawn(explanation))]
        return self._common(cost).model_copy(update=found)

    def _drawn(self, explanation: Explanation) -> bytes:
        if self.request.frame == "model":
            return self.draw(self.case, explanation)
        upload = self.request.upload
        # Within the limits, or there would be no case; decoding again is cheaper than keeping it.
        picture = decode(upload.data, limits=self.limits, value_range=upload.value_range)
        return self.draw(self.case, explanation, original=picture.image)

    def _common(self, cost: Cost) -> ExplainBody:
        spec, request, case = self.classifier.spec, self.request, self.case
        return ExplainBody(
            outcome="explained",
            complete=cost.stopped is None,
            stopped=cost.stopped,
            model=self.classifier.name,
            model_digest=self.classifier.digest,
            method=request.explainer.name,
            version=request.explainer.version,
            parameters=parameter_values(request.explainer),
            seed=request.seed,
            target=class_body(case.target, spec),
            image_id=case.image_id,
            confidence=float(self.scores[0, case.target]),
            scores=top_scores(self.scores, spec, TOP),
            frame=self.view.body,
            cost=cost_body(cost, self.waited_s),
            notes=list(case.notes),
        )
