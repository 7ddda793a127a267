"""What stands in the query of a request: parameters that routes share, and methods' options."""

import math
from typing import Annotated

from fastapi import Query, Request

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.base import Explainer, needs_of
from xaiserve.explainers.registry import make_explainer
from xaiserve.serve.bodies.methods import method_body
from xaiserve.serve.incoming.requests import Offered, Upload

ModelParam = Annotated[str, Query(description="Name of a served model.")]
RangeParam = Annotated[
    str | None,
    Query(
        alias="range",
        description="LOW,HIGH: what becomes 0 and 1 in 16-bit and float grey pictures.",
    ),
]


def owner_of(request: Request) -> str:
    """Return the id of the API key that a request came with; empty where none is asked for."""
    key = request.scope.get("state", {}).get("api_key")
    return "" if key is None else str(key.id)


def explainer_of(request: Request, method: str) -> Explainer:
    """Make the method from all query parameters that the route does not declare itself.

    Raises
    ------
    InvalidInputError, NotFoundError
        An option or the method is unknown or wrong.
    """
    options = _others(request)
    known = method_body(method).parameters["properties"]
    refuse_unknown(request, tuple(known))
    return make_explainer(method, options)


def contrast_of(
    explainer: Explainer, sent: Upload | None, asked: Offered | None
) -> Upload | Offered | None:
    """Refuse two contrast pictures, and one for a method that has no use for it."""
    if sent is not None and asked is not None:
        raise InvalidInputError(
            f"contrast must be sent in the form or asked for, got both: a file and {asked}"
        )
    wished = sent or asked
    if wished is not None and "contrast" not in needs_of(explainer):
        raise InvalidInputError(
            f"contrast is for methods that compare the image with a contrast picture, got method "
            f"{explainer.name}"
        )
    return wished


def _own(request: Request) -> set[str]:
    """List the query parameters that the route itself declares."""
    declared = request.scope["route"].dependant.query_params
    return {param.alias for param in declared}


def _others(request: Request) -> dict[str, str]:
    own = _own(request)
    return {key: text for key, text in request.query_params.items() if key not in own}


def refuse_unknown(request: Request, options: tuple[str, ...]) -> None:
    """Refuse what is misspelt, and what is said twice: one of the two would be dropped."""
    known = [*sorted(_own(request)), *options]
    given = [key for key, _ in request.query_params.multi_items()]
    for key in given:
        if key not in known:
            raise InvalidInputError(f"{key} is not a parameter; known are {', '.join(known)}")
        if given.count(key) > 1:
            raise InvalidInputError(f"{key} must be given once, got {given.count(key)} values")


def number_pair(text: str | None) -> tuple[float, float] | None:
    """Read ``LOW,HIGH``.

    Raises
    ------
    InvalidInputError
        The text is something else.
    """
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise _no_pair(text) from None
    if not (math.isfinite(low) and math.isfinite(high)):
        raise _no_pair(text)
    return low, high


def _no_pair(text: str) -> InvalidInputError:
    return InvalidInputError(f"range must be two numbers LOW,HIGH, got {text!r:.80}")
