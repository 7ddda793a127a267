"""What decides an answer, as a digest: equal ids, equal answers."""

import dataclasses
import hashlib
from importlib.metadata import version
from typing import Final

from xaiserve.explainers.base import needs_of
from xaiserve.parameters import parameters_of
from xaiserve.serve.bodies.lists import ModelBody
from xaiserve.serve.incoming.requests import ExplainRequest, Upload
from xaiserve.storage.results import digest_of

_FORM: Final = 1
"""Of the bodies that are kept; raised when their meaning changes."""


def result_id(request: ExplainRequest, model: ModelBody) -> str | None:
    """Digest all that decides the complete answer to a request.

    Budgets are not in it: whatever is complete is the same under any that sufficed.

    Returns
    -------
    None where that cannot be known: the model's own contrast pictures are not open yet.
    """
    contrast = _contrast(request, model)
    if contrast is None:
        return None
    return digest_of(
        {
            "form": [_FORM, version("xaiserve")],
            "image": _picture(request.upload),
            "model": [model.name, model.digest],
            "contrast": contrast,
            **_wishes(request),
        }
    )


def budgeted(result: str, max_inputs: int) -> str:
    """Digest what decides an answer whose search ended because its inputs were spent."""
    return digest_of([result, max_inputs])


def request_digest(request: ExplainRequest, model: str) -> str:
    """Digest what was asked for, budget included, of a model of this name."""
    return digest_of(
        {
            "image": [*_picture(request.upload), request.upload.name],
            "model": model,
            "contrast": _asked(request),
            "limits": dataclasses.asdict(request.limits),
            **_wishes(request),
        }
    )


def _wishes(request: ExplainRequest) -> dict[str, object]:
    explainer = request.explainer
    names = [parameter.name for parameter in parameters_of(type(explainer))]
    parameters = {name: getattr(explainer, name) for name in names}
    return {
        "method": [explainer.name, explainer.version, parameters],
        "target": request.target,
        "seed": request.seed,
        "shown": [request.frame, request.overlay, request.saliency],
    }


def _picture(upload: Upload) -> list[object]:
    scale = None if upload.value_range is None else list(upload.value_range)
    return [hashlib.sha256(upload.data).hexdigest(), scale]


def _asked(request: ExplainRequest) -> object:
    wished = request.contrast
    return _picture(wished) if isinstance(wished, Upload) else wished


def _contrast(request: ExplainRequest, model: ModelBody) -> list[object] | None:
    if "contrast" not in needs_of(request.explainer):
        return []
    if request.contrast is None:
        return None if model.contrast_digest is None else ["own", model.contrast_digest]
    return ["asked", _asked(request)]
