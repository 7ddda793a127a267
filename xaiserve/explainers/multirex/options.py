"""Every parameter of MultiReX: name, default, range, source.

``ReX`` is the reference tool, version 0.4.1. Where our default is not the tool's, the source says
``ours`` and preset ``rex`` sets the tool's value.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from xaiserve.parameters import check_fields, param

_TOOL: Final = "ReX 0.4.1"
_OURS: Final = "ours"
_DC: Final = "DC-Causal, ICCV 2021"
_SPECREX: Final = "SpecReX"


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiRexOptions:
    """The parameters, in the order in which the search meets them.

    Raises
    ------
    ValueError
        A value is out of its range; the message names the parameter and the range.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        "rex": {
            "walk": "every",
            "spotlights": 10,
            "pool": False,
            "pairs": False,
            "exclude": False,
            "prune": False,
        },
        "fast": {
            "iterations": 6,
            "exclude": False,
            "max_explanations": 2,
            "prune_block_px": 8,
        },
        "thorough": {
            "climb_rounds": 1000,
            "restarts": 8,
            "exclude_rounds": 20,
            "prune_block_px": 2,
        },
    }
    """``rex`` searches as the tool does; ``fast`` for two sets at a third of the inputs;
    ``thorough`` for more and smaller ones."""

    # -- the responsibility map ---------------------------------------------------------------

    iterations: int = param(
        20, "Independent random searches merged into the map.", low=1, high=1000, source=_TOOL
    )
    tree_depth: int = param(
        10, "Deepest level of a search's tree of boxes.", low=1, high=30, source=_TOOL
    )
    min_box_area: int = param(
        10, "Smallest box that is still split, in pixels.", low=1, source=_TOOL
    )
    search_limit: int | None = param(
        None, "Model inputs of one search, checked after a job; none for no limit.", low=14,
        source=_TOOL,
    )  # fmt: skip
    split: Literal["uniform", "betabinomial"] = param(
        "uniform", "Distribution of the point at which a box is cut.", source=_TOOL
    )
    alpha: float = param(1.1, "First shape of split betabinomial.", low=1e-3, source=_TOOL)
    beta: float = param(1.1, "Second shape of split betabinomial.", low=1e-3, source=_TOOL)
    scoring: Literal["share", "minimal_share", "witness"] = param(
        "share",
        "How a split rewards its boxes: shared among a passing mutant's boxes; the same for "
        "mutants without a passing strict subset only; or by the smallest witness.",
        source=f"{_TOOL}; {_SPECREX}; Chockler and Halpern 2004",
    )
    weighted: bool = param(
        False, "Multiply a mutant's reward by its confidence.", source=_TOOL
    )  # fmt: skip
    concentrate: bool = param(False, "Multiply a box's reward by its depth.", source=_TOOL)
    confidence_filter: float = param(
        0.0,
        "Confidence a mutant needs to pass, as a share of the whole image's.",
        low=0,
        high=1,
        source=_TOOL,
    )
    frontier: Literal["rex", "held"] = param(
        "rex",
        "Which boxes are refined next: the tool's last passing split without its context, or the "
        "largest box of a set that stays sufficient throughout.",
        source=f"{_TOOL}; {_OURS}",
    )
    queue_style: Literal["area", "intersection", "all", "dc"] = param(
        "area", "Which passing mutants are refined, at frontier rex.", source=f"{_TOOL}; {_DC}"
    )
    queue_len: int | None = param(
        1, "How many passing mutants are refined; none for all.", low=1, source=_TOOL
    )
    merge: Literal["multiplicative", "additive"] = param(
        "multiplicative", "How the iterations' maps combine.", source=_TOOL
    )
    negative: bool = param(
        False, "Subtract the maps of the other classes that mutants were given.", source=_TOOL
    )
    class_maps: bool = param(
        False, "Return a map for every class that a mutant was given.", source=_TOOL
    )

    # -- what is shown where the image is not --------------------------------------------------

    baseline: Literal["value", "min", "mean", "blur", "context", "random", "linear", "reflect"] = (
        param(
            "value",
            "What hidden pixels show: baseline_values, the prepared image's least or mean value, "
            "its blur, the case's context image, a value drawn per iteration, values evenly spaced "
            "over the iterations, or the image mirrored.",
            source=f"{_TOOL}; blur: SAG",
        )
    )
    baseline_values: tuple[float, ...] = param(
        (0.0,), "One value, or one per channel, in model-input units.", source=_TOOL
    )
    blur_sigma: float = param(
        10.0, "Width of the blur and of a context's blur, in pixels.", low=0, source="SAG"
    )

    # -- reading sets off the map ---------------------------------------------------------------

    chunk: int = param(
        10, "Ranking step, in pixels: sets are minimal to this step.", low=1, source=_TOOL
    )
    walk: Literal["every", "bracket"] = param(
        "bracket",
        "Try every prefix of the ranking, or growing ones and then those between the last that "
        "failed and the first that passed.",
        source=f"{_TOOL}; {_OURS}",
    )
    tau: float = param(
        0.0,
        "Confidence a set must keep, as a share of the whole image's; above 1 asks for more.",
        low=0,
        high=2,
        source=_TOOL,
    )
    spatial: bool = param(
        False, "Also search outwards from the map's peak, disc by disc.", source=_TOOL
    )
    spatial_radius: float = param(25.0, "First radius there, in pixels.", low=1, source=_TOOL)
    spatial_eta: float = param(
        0.2, "Relative growth of that radius.", low=0.01, high=1, source=_TOOL
    )
    spotlights: int = param(
        1,
        "Places to look, the global walk included; 1 for that walk alone.",
        low=1,
        high=1000,
        source=f"{_OURS}; ReX 10",
    )
    spotlight_radius: float = param(
        25.0, "First radius of a spotlight, in pixels.", low=1, source=_TOOL
    )
    spotlight_eta: float = param(
        0.2, "Relative growth of the radius from probe to probe.", low=0.01, high=1, source=_TOOL
    )
    no_expansions: int = param(4, "Radii probed at one place.", low=1, high=100, source=_TOOL)
    spotlight_step: int = param(
        5, "Step of a spotlight that climbs the map, in pixels.", low=1, source=_TOOL
    )
    objective: Literal["none", "mean", "max"] = param(
        "none", "What a spotlight climbs: nothing, or the map's mean or largest value in its disc.",
        source=_TOOL,
    )  # fmt: skip
    start: Literal["random", "peaks"] = param(
        "random", "Where spotlights begin: anywhere, or at the map's highest peaks.", source=_OURS
    )
    budget: int = param(
        40, "Moves of a spotlight to a new place.", low=0, high=100_000, source=_TOOL
    )
    scale_radii: bool = param(
        True, "Scale radii and steps by the picture's shorter side over 224.", source=_OURS
    )

    # -- finding sets that share nothing --------------------------------------------------------

    pool: bool = param(True, "Take disjoint sets from all mutants that passed.", source=_OURS)
    pairs: bool = param(
        True, "Search two complementary sets at once where fewer than two were found.", source=_OURS
    )
    climb_rounds: int = param(
        500, "Rounds of climbing of one pair, 8 proposals each.", low=0, high=100_000, source=_OURS
    )
    restarts: int = param(
        3, "Pairs that climb, one after the other.", low=1, high=100, source=_OURS
    )
    exclude: bool = param(
        True, "Search what the sets found so far leave, for further ones.", source=_OURS
    )
    exclude_rounds: int = param(
        6, "Sets looked for beyond two, at most.", low=0, high=1000, source=_OURS
    )
    exclude_iterations: int = param(
        6, "Searches merged into the map of what is left; 0 to go by the first map.", low=0,
        high=1000, source=_OURS,
    )  # fmt: skip
    max_explanations: int | None = param(
        None,
        "Most sets in the family, and when to stop looking for more; none for all there are.",
        low=1,
        source=_OURS,
    )
    prune: bool = param(
        True, "Drop blocks of pixels from a set while it keeps the label.", source=_OURS
    )
    prune_tau: float = param(
        0.25,
        "Confidence that pruning leaves where it is there to begin with, as a share of the "
        "whole image's.",
        low=0,
        high=2,
        source=_OURS,
    )
    prune_block_px: int = param(
        4, "Side of the smallest blocks that are dropped, in pixels.", low=1, high=256, source=_OURS
    )
    overlap: float = param(
        0.0, "Largest Dice overlap within the selected family.", low=0, high=1, source=_TOOL
    )

    # -- what is told about the sets -------------------------------------------------------------

    contrastive: bool = param(
        False, "Also find a set that keeps the label and whose removal loses it.", source=_TOOL
    )
    contrastive_tau: float | None = param(
        None, "Confidence of that set, as a share of the whole image's; none for tau.", low=0,
        high=2, source=f"{_OURS}; ReX 1",
    )  # fmt: skip
    complete: bool = param(
        False, "Also extend that set until the whole image's confidence is met.", source=_TOOL
    )
    complete_tol: float = param(
        0.005, "How closely the confidence is met.", low=1e-6, high=1, source=_OURS
    )
    curves: bool = param(
        False, "Also measure the map's insertion and deletion curves.", source=_TOOL
    )
    insertion_step: int = param(100, "Pixels from point to point of a curve.", low=1, source=_TOOL)
    robustness: int = param(
        0, "Noise pictures on which each set is tried; 0 for none.", low=0, high=10_000,
        source=f"{_OURS}; ReX two batches",
    )  # fmt: skip
    allow_non_top1: bool = param(
        False, "Explain a target that the model does not decide for on the whole image.",
        source=_OURS,
    )  # fmt: skip

    def __post_init__(self) -> None:
        check_fields(self)
