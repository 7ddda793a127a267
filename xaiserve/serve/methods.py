"""The methods as the service publishes them: one JSON Schema each."""

from functools import lru_cache

from xaiserve.explainers.base import Explainer, GradientExplainer
from xaiserve.explainers.registry import EXPLAINERS, explainer_class, make_explainer
from xaiserve.parameters import parameters_of
from xaiserve.serve.schemas import MethodBody


@lru_cache(maxsize=len(EXPLAINERS))
def method_body(name: str) -> MethodBody:
    """Describe one method.

    Raises
    ------
    NotFoundError
        No method of that name.
    """
    owner = explainer_class(name)
    return MethodBody(
        name=name,
        version=owner.version,
        about=(owner.__doc__ or "").strip().partition("\n")[0],
        needs_gradients=_needs_gradients(make_explainer(name)),
        parameters={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": {p.name: p.schema() for p in parameters_of(owner)},
            "additionalProperties": False,
        },
    )


def _needs_gradients(explainer: Explainer) -> bool:
    return isinstance(explainer, GradientExplainer)
