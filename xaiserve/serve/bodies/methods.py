"""The methods as the service publishes them: one JSON Schema each."""

from functools import lru_cache
from typing import Any

from xaiserve.explainers.base import Explainer, GradientExplainer, needs_of
from xaiserve.explainers.registry import EXPLAINERS, explainer_class, make_explainer, presets_of
from xaiserve.parameters import parameters_of
from xaiserve.serve.bodies.lists import MethodBody


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
        needs_contrast="contrast" in needs_of(make_explainer(name)),
        presets={preset: dict(values) for preset, values in presets_of(owner).items()},
        parameters={
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": _preset(owner) | {p.name: p.schema() for p in parameters_of(owner)},
            "additionalProperties": False,
        },
    )


def _preset(owner: type[Any]) -> dict[str, Any]:  # Any: JSON Schema
    names = ["default", *presets_of(owner)]
    about = "A set of values; parameters that are given go before it."
    return {"preset": {"enum": names, "default": "default", "description": about}}


def _needs_gradients(explainer: Explainer) -> bool:
    return isinstance(explainer, GradientExplainer)
