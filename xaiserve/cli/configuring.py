"""From the options of ``submit`` and ``tune`` to the configuration of a job."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xaiserve.cli.options import each_once, filled_settings
from xaiserve.errors import InvalidInputError

if TYPE_CHECKING:  # the list of commands must import neither torch nor ray
    from xaiserve.contrasts.opening import ContrastSettings
    from xaiserve.pipelines.config import JobConfig


def make_config(
    *, kind: str, named_model: str, methods: str, settings: Sequence[str], **rest: Any
) -> "JobConfig":
    """Turn the options of the command into a job's configuration.

    Raises
    ------
    InvalidInputError
        An option is wrong; the message names it.
    """
    from xaiserve.contrast_use import contrasts_for
    from xaiserve.contrasts.opening import settings_of
    from xaiserve.explainers.registry import make_explainer
    from xaiserve.pipelines import explain, pointing_game

    name, equals, source = named_model.partition("=")
    if not (name and equals and source):
        raise InvalidInputError(f"--model must be NAME=DIR, got {named_model!r}")
    names = _names(methods)
    tolerance = rest.pop("tolerance_px")
    told = settings_of(
        rest.pop("contrast", None),
        rest.pop("translator", None),
        each_once(rest.pop("contrast_options", ()), "--contrast-set"),
    )
    contrasts = contrasts_for([make_explainer(each) for each in names], told, source)
    given = rest | {
        "model": name,
        "model_source": _absolute(source),
        "methods": names,
        "options": filled_settings(settings, names),
        "scores": _names(rest.pop("scores", None) or ""),
        "images": _absolute(rest["images"]),
        "images_root": _absolute(rest["images_root"]) if rest.get("images_root") else None,
        **_placed(contrasts),
        "out": str(Path(rest["out"]).absolute()) if is_path(rest["out"]) else rest["out"],
    }
    if kind == "pointing-game":
        wished = {} if tolerance is None else {"tolerance_px": tolerance}
        return pointing_game.Config(**given, **wished)
    if tolerance is not None:
        raise InvalidInputError(f"--tolerance-px is for pointing-game, got kind {kind}")
    return explain.Config(**given)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _placed(contrasts: "ContrastSettings | None") -> dict[str, Any]:
    """Return the job's fields, with a place that is absolute, for workers have other folders."""
    if contrasts is None:
        return {}
    placed = contrasts.at(_absolute(contrasts.place)) if contrasts.place else contrasts
    return {
        "contrast": placed.contrast,
        "translator": placed.translator,
        "contrast_options": dict(placed.options),
    }


def is_path(address: str) -> bool:
    """Say whether an address is a path of some machine rather than a bucket or a server."""
    return "://" not in address


def _absolute(source: str) -> str:
    """Make a path that exists here absolute, for workers have other working folders."""
    return str(Path(source).absolute()) if is_path(source) and Path(source).exists() else source
