"""Options that decide nothing beside the others: told, so that nobody waits for their effect."""

from collections.abc import Callable
from typing import Final

from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.parameters import parameters_of

_Works = Callable[[MultiRexOptions], bool]

_WORK: Final[tuple[tuple[tuple[str, ...], str, _Works], ...]] = (
    (("alpha", "beta"), "split betabinomial", lambda o: o.split == "betabinomial"),
    (("queue_style", "queue_len"), "frontier rex", lambda o: o.frontier == "rex"),
    (
        ("baseline_values",),
        "baseline value, random or linear",
        lambda o: o.baseline in {"value", "random", "linear"},
    ),
    (("blur_sigma",), "baseline blur or context", lambda o: o.baseline in {"blur", "context"}),
    (("spatial_radius", "spatial_eta"), "spatial true", lambda o: o.spatial),
    (
        ("spotlight_radius", "spotlight_eta", "no_expansions", "objective", "start", "budget"),
        "spotlights above 1",
        lambda o: o.spotlights > 1,
    ),
    (
        ("spotlight_step",),
        "spotlights above 1 and an objective",
        lambda o: o.spotlights > 1 and o.objective != "none",
    ),
    (("climb_rounds", "restarts"), "pairs true", lambda o: o.pairs),
    (("exclude_rounds", "exclude_iterations"), "exclude true", lambda o: o.exclude),
    (("prune_tau", "prune_block_px"), "prune true", lambda o: o.prune),
    (
        ("contrastive_tau",),
        "contrastive true or complete true",
        lambda o: o.contrastive or o.complete,
    ),
    (("complete_tol",), "complete true", lambda o: o.complete),
    (("insertion_step",), "curves true", lambda o: o.curves),
)
"""Options, what they go with, and whether that is so."""


def idle_notes(options: MultiRexOptions) -> tuple[str, ...]:
    """Name each option that is not at its default and has no effect."""
    defaults = {each.name: each.default for each in parameters_of(type(options))}
    return tuple(
        f"{name} {getattr(options, name)} has no effect: it goes with {condition}"
        for names, condition, works in _WORK
        if not works(options)
        for name in names
        if getattr(options, name) != defaults[name]
    )
