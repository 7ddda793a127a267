"""MultiReX: many different sufficient explanations of one image, from its responsibility map.

H. Chockler, D. A. Kelly, D. Kroening, *Multiple Different (Black Box) Explanations for Image
Classifiers*, ECAI 2025, arXiv 2309.14309. The map is that of ReX: H. Chockler, D. A. Kelly,
D. Kroening, Y. Sun, *Causal Explanations for Image Classifiers*, arXiv 2411.08875, with the
defaults of its tool, version 0.4.1.

An explanation is a set of pixels that, shown alone over the fill, keeps the label (*sufficient*).

Deviations:

1. Split points never leave a child empty, and come from a counter-based source keyed by (seed,
   image, iteration, box): the map depends neither on batching nor on the order of evaluation.
2. All iterations advance together, and so do all walks: rounds are the depth of a search, not its
   length.
3. Merging sums logarithms in float64 where the tool multiplies and renormalises: same order, no
   overflow. Where the product would span more than float32 holds, the logarithms are scaled down.
4. A prefix is the smallest one tried that is sufficient, whatever the batch; the tool's answer
   depends on its batch size. Every set is scored alone before it is released.
5. Inside a disc, the disc's pixels rank before all others; the tool lets ties leave the disc.
6. Spotlight radii scale with the picture: the published ones are meant for 224 pixels.
7. The family is found by branch and bound, not by listing the power set.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from xaiserve.errors import NoExplanationError
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.multirex import responsibility
from xaiserve.explainers.multirex.extraction import (
    WIDE,
    Asking,
    Extraction,
    SufficientSet,
    probe_radii,
)
from xaiserve.explainers.multirex.family import dice_matrix, select_family
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import Event, Goal, Progress, QueryPlan, Stop, Verdicts, decide, gather
from xaiserve.perturb.query import Query, Ranked, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Saliency, Scores

__all__ = ["MultiRex", "MultiRexExplanation", "SufficientSet", "dice_matrix", "select_family"]

REFERENCE_SIDE = 224
"""The picture side, in pixels, at which the published radii are meant."""

_TOOL = "ReX 0.4.1"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MultiRexExplanation(Explanation):
    """A responsibility map and the sufficient sets read off it.

    Parameters
    ----------
    saliency
        The responsibility map, largest value 1; all zero when ``flat_map``.
    confidence
        The target's score for the whole image.
    explanations
        The sets found, the global one first; each verified alone.
    selected
        Indices of the largest family with pairwise Dice within the bound.
    exact
        Whether no larger family exists among ``explanations``.
    flat_map
        No iteration found a passing mutant, so that nothing could be ranked.
    trivial
        The bare fill is sufficient already: so may every set be, and nothing was searched.
    """

    confidence: float
    explanations: tuple[SufficientSet, ...]
    selected: tuple[int, ...]
    exact: bool
    flat_map: bool
    trivial: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiRex:
    """Search for sufficient explanations of one image that differ from each other."""

    name: ClassVar[str] = "multirex"
    version: ClassVar[int] = 1

    iterations: int = param(
        20, "Independent random searches merged into the map.", low=1, high=1000, source=_TOOL
    )
    tree_depth: int = param(
        10, "Deepest level of a search's tree of boxes.", low=1, high=30, source=_TOOL
    )
    min_box_area: int = param(
        10, "Smallest box that is still split, in pixels.", low=1, source=_TOOL
    )
    merge: Literal["multiplicative", "additive"] = param(
        "multiplicative", "How the iterations' maps combine.", source=_TOOL
    )
    chunk: int = param(
        10, "Ranking step, in pixels: sets are minimal to this step.", low=1, source=_TOOL
    )
    tau: float = param(
        0.0,
        "Confidence a set must keep, as a share of the whole image's; above 1 asks for more.",
        low=0,
        high=2,
        source=_TOOL,
    )
    spotlights: int = param(
        10, "Places to look, the global walk included.", low=1, high=1000, source=_TOOL
    )
    spotlight_radius: float = param(
        25.0, "First radius of a spotlight, in pixels.", low=1, source=_TOOL
    )
    spotlight_eta: float = param(
        0.2, "Relative growth of the radius from probe to probe.", low=0.01, high=1, source=_TOOL
    )
    no_expansions: int = param(4, "Radii probed at one place.", low=1, high=100, source=_TOOL)
    budget: int = param(
        40, "Moves of a spotlight to a new random place.", low=0, high=100_000, source=_TOOL
    )
    scale_radii: bool = param(
        True,
        "Scale the radius by the picture's shorter side over 224.",
        source="ours",
    )
    overlap: float = param(
        0.0, "Largest Dice overlap within the selected family.", low=0, high=1, source=_TOOL
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def bytes_in_flight(self, case: Case) -> int:
        """Count a rank image of 8 bytes per walk, the map, and the scores of the largest round.

        A round's scores are held twice while they are judged. The number of classes is not known
        here; a thousand are assumed.
        """
        images = (self.spotlights + 8) * case.height * case.width * 8
        rows = max(self.iterations * 3 * len(responsibility.SUBSETS), self.spotlights * WIDE)
        return images + rows * 2 * 4 * 1000

    def plan(self, case: Case, keys: Keys) -> QueryPlan[MultiRexExplanation]:
        """Search ``case``; about 14 inputs per split, one per prefix walked and disc probed.

        When stopped early it returns the sets verified so far and the map as it is.

        Raises
        ------
        NoExplanationError
            The classifier does not decide for the target on the whole image.
        """
        scene = Scene(case.image, case.neutral.expand_as(case.image).clone())
        confidence, blank = yield from _ends(scene, case)
        goal = Goal(case.rule, case.target, self.tau * confidence)
        trivial = bool(goal.judge(blank.scores).passes[0])
        found: dict[int, SufficientSet] = {}
        searches = responsibility.start(keys, self.iterations, case.height, case.width)
        saliency = torch.zeros(case.height, case.width)
        if trivial:
            found[0] = _nothing_shown(saliency, blank, goal)
        else:
            try:
                yield from self._search(scene, Goal(case.rule, case.target), searches)
                saliency = self._merged(searches, case)
                yield from self._extract(Extraction(scene, goal, saliency, self.chunk), keys, found)
            except Stop:
                saliency = self._merged(searches, case)
        return self._conclude(case, saliency, confidence, found, trivial=trivial)

    def _search(
        self, scene: Scene, goal: Goal, searches: Sequence[responsibility.Iteration]
    ) -> Generator[Query | Event, Scores | None, None]:
        """Advance all iterations together until each has ended."""
        live = list(searches)
        while live := [search for search in live if self._prepare(search)]:
            yield Progress("responsibility", len(searches) - len(live), len(searches))
            verdicts = yield from decide(responsibility.mutants(scene, live), goal)
            live = responsibility.deal(verdicts.passes, live)

    def _prepare(self, search: responsibility.Iteration) -> bool:
        return search.prepare(min_area=self.min_box_area, max_depth=self.tree_depth)

    def _merged(self, searches: Sequence[responsibility.Iteration], case: Case) -> Saliency:
        return responsibility.merge(
            searches, case.height, case.width, multiplicative=self.merge == "multiplicative"
        )

    def _extract(
        self, extraction: Extraction, keys: Keys, found: dict[int, SufficientSet]
    ) -> Generator[Query | Event, Scores | None, None]:
        """Walk the whole ranking and every spotlight's, together; note each set in ``found``."""
        height, width = extraction.saliency.shape
        scale = min(height, width) / REFERENCE_SIDE if self.scale_radii else 1.0
        radii = probe_radii(self.spotlight_radius * scale, self.spotlight_eta, self.no_expansions)
        walks: list[Asking] = [
            extraction.spotlight(keys.child("spotlight", index), radii, self.budget)
            for index in range(1, self.spotlights)
        ]
        if bool(extraction.saliency.any()):
            walks.insert(0, extraction.whole())
        yield from gather([_noting(found, i, walk) for i, walk in enumerate(walks)])

    def _conclude(
        self,
        case: Case,
        saliency: Saliency,
        confidence: float,
        found: dict[int, SufficientSet],
        *,
        trivial: bool,
    ) -> MultiRexExplanation:
        sets = tuple(found[index] for index in sorted(found))
        selected, exact = select_family([one.mask for one in sets], self.overlap)
        return MultiRexExplanation(
            image_id=case.image_id,
            explainer=self.name,
            target=case.target,
            saliency=saliency,
            confidence=confidence,
            explanations=sets,
            selected=selected,
            exact=exact,
            flat_map=not bool(saliency.any()),
            trivial=trivial,
        )


def _ends(
    scene: Scene, case: Case
) -> Generator[Query | Event, Scores | None, tuple[float, Verdicts]]:
    """Ask for the whole image and for the bare fill; the first must have the label."""
    pixels = case.height * case.width
    rank = torch.arange(pixels).view(case.height, case.width)
    both = Ranked.prefixes(scene, rank, [pixels, 0], alone=True)
    verdicts = yield from decide(both, Goal(case.rule, case.target))
    if not bool(verdicts.passes[0]):
        raise NoExplanationError(
            f"target {case.target} is not what the model decides for this image "
            f"(score {float(verdicts.confidence[0]):.4f}); "
            f"the top class is {int(verdicts.scores[0].argmax())}"
        )
    blank = Verdicts(verdicts.passes[1:], verdicts.confidence[1:], verdicts.scores[1:])
    return float(verdicts.confidence[0]), blank


def _nothing_shown(saliency: Saliency, blank: Verdicts, goal: Goal) -> SufficientSet:
    return SufficientSet(
        mask=torch.zeros_like(saliency, dtype=torch.bool),
        confidence=float(blank.confidence[0]),
        margin=float(goal.rule.margins(blank.scores, goal.target)[0]),
        area_px=0,
        area_fraction=0.0,
        kind="empty",
        ranked_px=0,
    )


def _noting(found: dict[int, SufficientSet], index: int, walk: Asking) -> QueryPlan[None]:
    """Run one walk and keep its set outside, where an early stop cannot lose it."""
    result = yield from walk
    if result is not None:
        found[index] = result
