"""One explanation as a JSON-ready dictionary, the same on the command line and over HTTP.

::

    {image: {id, name, notes}, model: {name, digest}, method: {name, version, parameters}, seed,
     target: {index, label, score}, predictions: [{index, label, score}], size: {height, width},
     frame: {original_height, ...}, saliency: {low, high, peak, ...},
     explanations: [{mask: {size, counts}, confidence, area_px, area_fraction, kind, ...}],
     selected: [...], details: {...}, cost: {...}, complete}

``explanations`` and ``selected`` are there for methods that find sets of pixels. ``details`` holds
every other number, flag and word that the method says about its result.
"""

import base64
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from xaiserve.explainers.base import Explainer, Explanation
from xaiserve.explainers.multirex import MultiRexExplanation
from xaiserve.models.classifier import Classifier
from xaiserve.models.spec import ModelSpec
from xaiserve.parameters import parameters_of
from xaiserve.perturb.case import Case
from xaiserve.perturb.ticket import Cost
from xaiserve.storage.rle import mask_to_rle
from xaiserve.types import Saliency, Scores

Document = dict[str, Any]
"""JSON: nested dictionaries, lists, numbers, text, flags and None."""  # hence Any

PREDICTIONS: Final = 5
"""Classes listed with their scores."""

_COMMON: Final = {field.name for field in dataclasses.fields(Explanation)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What produced an explanation: with the image, all that is needed to repeat it."""

    model_name: str
    model_digest: str
    method: str
    version: int
    parameters: Mapping[str, object]
    seed: int

    @classmethod
    def of(cls, classifier: Classifier, explainer: Explainer, seed: int) -> "Provenance":
        return cls(
            model_name=classifier.name,
            model_digest=classifier.digest,
            method=explainer.name,
            version=explainer.version,
            parameters={
                parameter.name: getattr(explainer, parameter.name)
                for parameter in parameters_of(type(explainer))
            },
            seed=seed,
        )


def explanation_document(
    case: Case,
    explanation: Explanation,
    spec: ModelSpec,
    cost: Cost,
    provenance: Provenance,
    *,
    scores: Scores | None = None,
    saliency_values: bool = True,
) -> Document:
    """Describe one explanation.

    Parameters
    ----------
    scores
        (1, k): the model's answer to the whole image; without it the target's score is None and
        no predictions are listed.
    saliency_values
        Include the map itself, as base64 of little-endian float16 in row order: about 2.7 bytes a
        pixel.
    """
    predictions = [] if scores is None else predictions_document(scores, spec)
    score = None if scores is None else _number(float(scores[0, case.target]))
    found: Document = {
        "image": {"id": case.image_id, "name": case.name, "notes": list(case.notes)},
        **_provenance(provenance),
        "target": _scored_class(case.target, spec) | {"score": score},
        "predictions": predictions,
        "size": {"height": case.height, "width": case.width},
        "frame": None if case.frame is None else dataclasses.asdict(case.frame),
        "saliency": saliency_document(explanation.saliency, values=saliency_values),
    }
    if isinstance(explanation, MultiRexExplanation):
        found["explanations"] = [_flat(one) for one in explanation.explanations]
        found["selected"] = list(explanation.selected)
    details = _flat(explanation)
    found["details"] = {key: value for key, value in details.items() if key not in _COMMON}
    found["cost"] = dataclasses.asdict(cost)
    found["complete"] = cost.stopped is None
    return found


def failure_document(name: str, error: Exception) -> Document:
    """Describe an image that has no explanation, and why."""
    return {"image": {"name": name}, "error": {"kind": type(error).__name__, "message": str(error)}}


def predictions_document(scores: Scores, spec: ModelSpec) -> list[Document]:
    """List the classes of the first row of ``scores`` that rank first; ties by index."""
    order = torch.argsort(scores[0], descending=True, stable=True)[:PREDICTIONS].tolist()
    return [
        _scored_class(index, spec) | {"score": _number(float(scores[0, index]))} for index in order
    ]


def saliency_document(saliency: Saliency, *, values: bool) -> Document:
    """Describe a map: bounds, the first of its maxima as (row, column) and, if asked, its values.

    Values outside float16 (beyond 65504 in size) become infinite in ``values`` only.
    """
    row, column = divmod(int(saliency.argmax()), saliency.shape[1])
    found: Document = {
        "height": int(saliency.shape[0]),
        "width": int(saliency.shape[1]),
        "low": _number(float(saliency.min())),
        "high": _number(float(saliency.max())),
        "peak": {"row": row, "column": column},
    }
    if values:
        halves = saliency.to(torch.float16).numpy().astype(np.dtype("<f2"))
        found |= {"dtype": "<f2", "base64": base64.b64encode(halves.tobytes()).decode()}
    return found


def _provenance(provenance: Provenance) -> Document:
    return {
        "model": {"name": provenance.model_name, "digest": provenance.model_digest},
        "method": {
            "name": provenance.method,
            "version": provenance.version,
            "parameters": {key: _plain(value) for key, value in provenance.parameters.items()},
        },
        "seed": provenance.seed,
    }


def _scored_class(index: int, spec: ModelSpec) -> Document:
    return {"index": index, "label": spec.labels[index]}


def _flat(instance: Any) -> Document:  # Any: whatever dataclass a method returns
    """Take the fields that JSON can say as they are, and masks as COCO run lengths."""
    values = {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}
    return {
        name: mask_to_rle(value) if _is_mask(value) else _plain(value)
        for name, value in values.items()
        if _is_mask(value) or value is None or isinstance(value, bool | int | float | str)
    }


def _is_mask(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.bool


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    return _number(value) if isinstance(value, float) else value


def _number(value: float) -> float | None:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else None
