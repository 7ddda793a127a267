"""The search as a whole: one plan from the image to the family of sets."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from xaiserve.errors import NoExplanationError
from xaiserve.explainers.multirex.baselines import check_case, make_scenes
from xaiserve.explainers.multirex.contrastive import Contrast
from xaiserve.explainers.multirex.disjoint import Disjoint
from xaiserve.explainers.multirex.extraction import Asking, Extraction
from xaiserve.explainers.multirex.family import select_family
from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.quality import PICTURES, Quality, concentration
from xaiserve.explainers.multirex.ranking import ranking
from xaiserve.explainers.multirex.responsibility import ROWS_PER_QUERY, ResponsibilitySearch
from xaiserve.explainers.multirex.results import (
    Extras,
    MultiRexExplanation,
    SufficientSet,
    empty_set,
)
from xaiserve.explainers.multirex.spotlights import extractions
from xaiserve.explainers.multirex.walks import WIDE
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import Event, Goal, QueryPlan, Stop, Verdicts, decide, gather
from xaiserve.perturb.query import Query, Ranked, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Saliency, Scores


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiRex(MultiRexOptions):
    """Search for sufficient explanations of one image that differ from each other."""

    name: ClassVar[str] = "multirex"
    version: ClassVar[int] = 2

    def bytes_in_flight(self, case: Case) -> int:
        """Count a rank image of 8 bytes per walk, the map, and the scores of the largest round.

        A round's scores are held twice while they are judged. The number of classes is not known
        here; a thousand are assumed. A noise picture is held as it is and, with the image, as it
        is normalised; so is a fill of an iteration's own.
        """
        pixels = case.height * case.width
        fills = self.iterations if self.baseline in {"random", "linear"} else 1
        pictures = 3 * 4 * case.image.numel() * (fills + min(self.robustness, PICTURES))
        images = (self.spotlights + 8) * pixels * 8 + pictures
        rows = max(min(self.iterations * 42, ROWS_PER_QUERY), self.spotlights * WIDE)
        rows = max(rows, 2 * (pixels // self.insertion_step) if self.curves else 0)
        return images + rows * 2 * 4 * 1000

    def plan(self, case: Case, keys: Keys) -> QueryPlan[MultiRexExplanation]:
        """Search ``case``; about 14 inputs per split, one per prefix walked and disc probed.

        When stopped early it returns the sets verified so far and the map as it is.

        Raises
        ------
        InvalidInputError
            An option does not fit the case; nothing was asked.
        NoExplanationError
            The classifier does not decide for the target on the whole image.
        """
        check_case(self, case)
        scenes = make_scenes(self, case, keys)
        scene = scenes.extraction
        confidence, blank = yield from _ends(scene, case)
        goal = Goal(case.rule, case.target, self.tau * confidence)
        trivial = bool(goal.judge(blank.scores).passes[0])
        found: dict[int, SufficientSet] = {}
        members: list[SufficientSet] = []
        extras = Extras()
        search = ResponsibilitySearch(self, case, scenes.searches, keys, confidence=confidence)
        saliency = torch.zeros(case.height, case.width)
        if trivial:
            found[0] = empty_set((case.height, case.width), blank, goal)
        else:
            try:
                yield from search.run()
                saliency = search.saliency()
                extraction = Extraction(scene, goal, saliency, self)
                yield from self._extract(extraction, keys, found)
                if self.pool or self.pairs or self.exclude:
                    yield from Disjoint(
                        case=case,
                        scene=scene,
                        goal=goal,
                        confidence=confidence,
                        saliency=saliency,
                        seen=search.seen,
                        certain=goal.floor == 0 and len(scenes.searches) == 1,
                        whole=next((one for one in found.values() if one.kind == "global"), None),
                        options=self,
                        keys=keys.child("disjoint"),
                        found=members,
                    ).run()
                sets = _in_order(found, members)
                yield from self._examine(
                    extraction, case, keys, confidence, sets=sets, extras=extras
                )
            except Stop:
                saliency = search.saliency()
        sets = _in_order(found, members)
        return self._conclude(case, saliency, confidence, sets, extras, trivial=trivial)

    def _extract(
        self, extraction: Extraction, keys: Keys, found: dict[int, SufficientSet]
    ) -> Generator[Query | Event, Scores | None, None]:
        """Walk the whole ranking and every spotlight's, together; note each set in ``found``."""
        walks = extractions(extraction, keys)
        yield from gather([_noting(found, i, walk) for i, walk in enumerate(walks)])

    def _examine(
        self,
        extraction: Extraction,
        case: Case,
        keys: Keys,
        confidence: float,
        *,
        sets: tuple[SufficientSet, ...],
        extras: Extras,
    ) -> Generator[Query | Event, Scores | None, None]:
        """Look closer at the map and the sets, as far as the options ask for it."""
        scene, goal, masks = extraction.scene, extraction.goal, [one.mask for one in sets]
        flat, rank = not bool(extraction.saliency.any()), ranking(extraction.saliency)
        if not flat:
            yield from Contrast(scene, goal, confidence, rank, self).run(masks, extras)
        quality = Quality(case, scene, confidence, rank, self, keys.child("quality"))
        yield from quality.run(masks, extras, flat=flat)

    def _conclude(
        self,
        case: Case,
        saliency: Saliency,
        confidence: float,
        sets: tuple[SufficientSet, ...],
        extras: Extras,
        *,
        trivial: bool,
    ) -> MultiRexExplanation:
        flat = not bool(saliency.any())
        if extras.robustness:
            shares = zip(sets, extras.robustness, strict=True)
            sets = tuple(replace(one, robustness=share) for one, share in shares)
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
            flat_map=flat,
            trivial=trivial,
            concentration_bits=concentration(saliency),
            contrastive=extras.contrastive,
            complete=extras.complete,
            contrastive_union=extras.contrastive_union,
            curves=extras.curves,
            notes=self._notes(flat=flat and not trivial),
        )

    def _notes(self, *, flat: bool) -> tuple[str, ...]:
        if flat and self.objective != "none" and self.spotlights > 1:
            return (
                f"the map is flat: spotlights looked anywhere, not by objective {self.objective}",
            )
        return ()


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


def _in_order(
    found: dict[int, SufficientSet], members: list[SufficientSet]
) -> tuple[SufficientSet, ...]:
    return (*(found[index] for index in sorted(found)), *members)


def _noting(found: dict[int, SufficientSet], index: int, walk: Asking) -> QueryPlan[None]:
    """Run one walk and keep its set outside, where an early stop cannot lose it."""
    result = yield from walk
    if result is not None:
        found[index] = result
