"""One explanation as a JSON-ready dictionary: the one shape of the command line and of HTTP.

The fields are those of the service's ``ExplainBody``, whose descriptions say what each means. The
service adds ``overlays`` and ``cost.waited_seconds``, which only it has; an image that failed is a
problem over HTTP and a `failure_document` on the command line.
"""

import base64
import dataclasses
import math
from collections.abc import Collection
from typing import Any, Final

import torch

from xaiserve.explainers.base import Explainer, Explanation, ShownSet, WithNotes, WithSets
from xaiserve.models.spec import ModelSpec
from xaiserve.parameters import parameters_of
from xaiserve.perturb.ticket import Cost
from xaiserve.report.presenting import presenter_of
from xaiserve.report.subject import Document, Subject
from xaiserve.storage.rle import mask_to_rle
from xaiserve.types import Scores

TOP: Final = 5
"""Classes listed with their scores."""

BULK: Final = frozenset({"data", "dtype", "values"})
"""Names of values that are long: maps, pictures, rows of numbers."""

_COMMON: Final = {field.name for field in dataclasses.fields(Explanation)}


def explanation_document(
    subject: Subject, explanation: Explanation, cost: Cost, *, whole_map: bool = True
) -> Document:
    """Describe what the method has found; with ``whole_map``, its long values (`BULK`) too."""
    saliency = subject.saliency(explanation.saliency)
    found = _common(subject, cost)
    found["saliency"] = saliency_document(saliency, whole=whole_map)
    presenter = presenter_of(explanation)
    if isinstance(explanation, WithSets):
        found["explanations"] = [
            _set(one, subject, selected=index in explanation.selected)
            for index, one in enumerate(explanation.explanations)
        ]
        found["selected"] = list(explanation.selected)
    if isinstance(explanation, WithNotes):
        found["notes"] += explanation.notes
    told = {*_COMMON, *found, *(presenter.tells if presenter else ())}
    found["details"] = _details(explanation, subject, told, whole=whole_map)
    if presenter is not None:
        found["details"] |= presenter.details(explanation, subject, whole=whole_map)
    return found


def announced_document(part: object, subject: Subject) -> Document:
    """Describe a part of a result that a method tells while it goes on, see `plan.Found`.

    ``explanation`` is a set of pixels; a part that is none is told in ``details``.
    """
    if isinstance(part, ShownSet):
        return {"explanation": _announced(part, subject)}
    return {"details": _details(part, subject, (), whole=False)}


def without_bulk(document: Document, keep: Collection[str] = ()) -> Document:
    """Leave out what `explanation_document` tells only of whole maps: each such value is null.

    Parameters
    ----------
    keep
        Of `BULK`: what stays.
    """
    names = BULK.difference(keep)
    return {key: None if key in names else _without(value, keep) for key, value in document.items()}


def _without(value: object, keep: Collection[str]) -> object:
    if isinstance(value, dict):
        return without_bulk(value, keep)
    if isinstance(value, list):
        return [_without(part, keep) for part in value]
    return value


def none_document(subject: Subject, reason: str, cost: Cost) -> Document:
    """Say that the method has no answer for this image, and why: a result, and no failure."""
    return _common(subject, cost) | {"outcome": "none", "reason": reason}


def failure_document(name: str, error: Exception) -> Document:
    """Say which image failed, and why."""
    return {"name": name, "error": {"kind": type(error).__name__, "message": str(error)}}


def class_document(index: int, spec: ModelSpec) -> Document:
    """Name one class."""
    return {"index": index, "label": spec.labels[index]}


def scores_document(scores: Scores, spec: ModelSpec, top: int = TOP) -> list[Document]:
    """Name the ``top`` classes of one row (1, k), best first, the lower index of equals first."""
    order = torch.argsort(scores[0], descending=True, stable=True)[:top].tolist()
    return [
        class_document(index, spec) | {"score": _number(float(scores[0, index]))} for index in order
    ]


def saliency_document(saliency: torch.Tensor, *, whole: bool) -> Document:
    """Summarise a map (h, w) float32; with ``whole``, give every value as well, exactly.

    The values are base64 of little-endian float32, row by row: 5.3 bytes a pixel.
    """
    row, column = divmod(int(saliency.argmax()), saliency.shape[1])
    values = saliency.numpy().astype("<f4").tobytes() if whole else None
    return {
        "shape": list(saliency.shape),
        "minimum": _number(float(saliency.min())),
        "maximum": _number(float(saliency.max())),
        "peak": {"row": row, "column": column},
        "dtype": None if values is None else "<f4",
        "data": None if values is None else base64.b64encode(values).decode(),
    }


def _common(subject: Subject, cost: Cost) -> Document:
    model, method, case = subject.classifier, subject.explainer, subject.case
    spent = dataclasses.asdict(cost)
    stopped = spent.pop("stopped")
    return {
        "outcome": "explained",
        "reason": None,
        "complete": stopped is None,
        "stopped": stopped,
        "model": model.name,
        "model_digest": model.digest,
        "method": method.name,
        "version": method.version,
        "parameters": _parameters(method),
        "seed": subject.seed,
        "target": class_document(case.target, model.spec),
        "image_id": case.image_id,
        "name": case.name,
        "confidence": _number(float(subject.scores[0, case.target])),
        "scores": scores_document(subject.scores, model.spec),
        "explanations": [],
        "selected": [],
        "saliency": None,
        "details": {},
        "frame": _frame(subject),
        "cost": spent,
        "notes": list(case.notes),
    }


def _parameters(explainer: Explainer) -> Document:
    """List the values that a method runs with, defaults included."""
    return {
        parameter.name: _plain(getattr(explainer, parameter.name))
        for parameter in parameters_of(type(explainer))
    }


def _frame(subject: Subject) -> Document:
    frame = subject.frame
    found = {"name": subject.frame_name, **dataclasses.asdict(frame)}
    if subject.frame_name == "original":
        found |= {"height": frame.original_height, "width": frame.original_width}
    return found


def _set(one: ShownSet, subject: Subject, *, selected: bool) -> Document:
    return _announced(one, subject) | {"selected": selected}


def _announced(one: ShownSet, subject: Subject) -> Document:
    mask = subject.mask(one.mask)
    area = int(mask.sum())
    found: Document = {
        "mask": mask_to_rle(mask),
        "area_px": area,
        "area_fraction": area / mask.numel(),
        "confidence": _number(one.confidence),
        "kind": one.kind,
    }
    found["details"] = _details(one, subject, {*found, "selected"}, whole=False)
    return found


# Any: what a method returns
def _details(result: Any, subject: Subject, told: Collection[str], *, whole: bool) -> Document:
    """Collect what a result says that is not ``told`` elsewhere."""
    names = sorted({field.name for field in dataclasses.fields(result)} - {*told})
    values = {name: getattr(result, name) for name in names}
    return {
        name: _detail(value, subject, whole=whole)
        for name, value in values.items()
        if not (isinstance(value, torch.Tensor) and value.dim() > 2)  # noqa: PLR2004 -- a map's
    }


def _detail(value: Any, subject: Subject, *, whole: bool) -> object:
    """Describe one value: plain ones as they are, masks and maps as everywhere in the document."""
    if isinstance(value, tuple):
        return [_detail(part, subject, whole=whole) for part in value]
    if dataclasses.is_dataclass(value):
        return _details(value, subject, (), whole=whole)
    if not isinstance(value, torch.Tensor):
        return _plain(value)
    if value.dtype == torch.bool:
        return mask_to_rle(subject.mask(value))
    if value.dim() == 1:
        return [_number(one) for one in value.tolist()]
    return saliency_document(subject.saliency(value.float()), whole=whole)


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
