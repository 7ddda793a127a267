"""A request that is answered later, as it is kept until then."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, get_args

from xaiserve.explainers.registry import make_explainer
from xaiserve.parameters import parameters_of
from xaiserve.perturb.ticket import Limits
from xaiserve.serve.incoming.requests import ExplainRequest, Offered, Upload

Pictures = dict[str, bytes]
"""The files of a request, by the name of its field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """An explain request with what belongs to it.

    Parameters
    ----------
    owner
        Id of the API key that brought it; empty where none is asked for.
    at
        When it was accepted, in seconds since 1970.
    """

    id: str
    owner: str
    at: float
    model: str
    request: ExplainRequest

    def to_json(self) -> bytes:
        """Write all but the pictures."""
        asked, method = self.request, self.request.explainer
        names = [parameter.name for parameter in parameters_of(type(method))]
        plain = {"target": asked.target, "seed": asked.seed, "frame": asked.frame}
        shown = {"overlay": asked.overlay, "saliency": asked.saliency}
        document = {
            "id": self.id,
            "owner": self.owner,
            "at": self.at,
            "model": self.model,
            "method": method.name,
            "parameters": {name: getattr(method, name) for name in names},
            "limits": dataclasses.asdict(asked.limits),
            "image": _card(asked.upload),
            "contrast": _card(asked.contrast) if isinstance(asked.contrast, Upload) else None,
            "offered": asked.contrast if asked.contrast in get_args(Offered) else None,
            **plain,
            **shown,
        }
        return json.dumps(document).encode()

    @property
    def pictures(self) -> Pictures:
        asked = self.request
        contrast = asked.contrast
        other = {"contrast": contrast.data} if isinstance(contrast, Upload) else {}
        return {"image": asked.upload.data} | other


def accepted_of(document: dict[str, Any], pictures: Pictures) -> Accepted:
    """Make the request again from what `Accepted.to_json` wrote.

    Raises
    ------
    InvalidInputError, NotFoundError
        The method is not there any more, or not with these parameters.
    """
    parameters = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in document["parameters"].items()
    }
    contrast = document["contrast"] and _upload(document["contrast"], pictures["contrast"])
    request = ExplainRequest(
        upload=_upload(document["image"], pictures["image"]),
        explainer=make_explainer(document["method"], parameters),
        limits=Limits(**document["limits"]),
        contrast=contrast or document["offered"],
        **{name: document[name] for name in ("target", "seed", "frame", "overlay", "saliency")},
    )
    whose = {name: document[name] for name in ("id", "owner", "at", "model")}
    return Accepted(request=request, **whose)


def _card(upload: Upload) -> dict[str, object]:
    return {"name": upload.name, "value_range": upload.value_range}


def _upload(card: dict[str, Any], data: bytes) -> Upload:
    scale = card["value_range"]
    return Upload(data=data, name=card["name"], value_range=None if scale is None else tuple(scale))
