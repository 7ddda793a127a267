"""The methods by name, as strings: who names one imports that one alone."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from xaiserve.errors import InvalidInputError, NotFoundError
from xaiserve.explainers.base import Explainer
from xaiserve.parameters import parse_options

EXPLAINERS: Final[Mapping[str, str]] = {
    "multirex": "xaiserve.explainers.multirex:MultiRex",
    "clear-image": "xaiserve.explainers.clear_image:ClearImage",
    "occlusion": "xaiserve.explainers.baselines.occlusion:Occlusion",
    "rise": "xaiserve.explainers.baselines.rise:Rise",
    "lime": "xaiserve.explainers.baselines.lime:Lime",
    "kernel-shap": "xaiserve.explainers.baselines.kernel_shap:KernelShap",
    "grad-cam": "xaiserve.explainers.baselines.gradcam:GradCam",
    "integrated-gradients": (
        "xaiserve.explainers.baselines.integrated_gradients:IntegratedGradients"
    ),
    "sag": "xaiserve.explainers.baselines.sag:Sag",
    "extremal-perturbations": "xaiserve.explainers.baselines.extremal:ExtremalPerturbations",
}


# Any: protocols with class variables take no part in subclass checks, which `type[Explainer]` asks
# for at run time in tests.
def explainer_class(name: str) -> type[Any]:
    """Find a method's class.

    Raises
    ------
    NotFoundError
        For an unknown name; the message lists the known ones.
    """
    if name not in EXPLAINERS:
        raise NotFoundError(f"method {name!r} does not exist; known are {', '.join(EXPLAINERS)}")
    module, _, attribute = EXPLAINERS[name].partition(":")
    found: type[Any] = getattr(import_module(module), attribute)
    return found


def make_explainer(name: str, options: Mapping[str, object] | None = None) -> Explainer:
    """Build a method from its name and options; texts are read as on a command line.

    Option ``preset`` names a set of values (see ``xaiserve methods``); other options go before it.

    Raises
    ------
    NotFoundError
        Unknown method.
    InvalidInputError
        Unknown option or value out of range; the message names the option and its range.
    """
    owner = explainer_class(name)
    given = dict(options or {})
    given = {**_preset(name, owner, given.pop("preset", None)), **given}
    texts = {key: value for key, value in given.items() if isinstance(value, str)}
    try:
        made: Explainer = owner(**{**given, **parse_options(owner, texts)})
    except TypeError as error:
        raise InvalidInputError(f"{name}: {error}") from error
    except ValueError as error:
        raise InvalidInputError(f"{name}: {error}") from error
    return made


def presets_of(owner: type[Any]) -> Mapping[str, Mapping[str, object]]:
    """Return a method's presets by name: the options that each sets."""
    found: Mapping[str, Mapping[str, object]] = getattr(owner, "presets", {})
    return found


def _preset(name: str, owner: type[Any], preset: object) -> Mapping[str, object]:
    known = presets_of(owner)
    if preset is None or preset == "default":
        return {}
    if preset not in known:
        raise InvalidInputError(
            f"{name}: preset must be one of {', '.join(['default', *known])}, got {preset!r}"
        )
    return known[str(preset)]
