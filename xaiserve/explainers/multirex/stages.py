"""The stages of one search, and what they have found so far.

=================== ===============================================================
stage               finds
=================== ===============================================================
``target``          the whole image's confidence, and whether the bare fill suffices
``responsibility``  the map
``walks``           the global set, the spatial one, those of spotlights
``family``          sets that share no pixel, made small
``examination``     contrast, curves and robustness, as far as they are asked for
=================== ===============================================================

One comes after the other, but ``walks`` and ``family``: they need the map and not each other, and
share their rounds.
"""

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import torch
from typing_extensions import override

from xaiserve.errors import NoExplanationError
from xaiserve.explainers.multirex.baselines import make_scenes
from xaiserve.explainers.multirex.contrastive import Contrast
from xaiserve.explainers.multirex.disjoint import Disjoint
from xaiserve.explainers.multirex.extraction import Asking, Extraction
from xaiserve.explainers.multirex.family import select_family
from xaiserve.explainers.multirex.idle import idle_notes
from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.quality import Quality, concentration
from xaiserve.explainers.multirex.ranking import ranking
from xaiserve.explainers.multirex.responsibility import ResponsibilitySearch
from xaiserve.explainers.multirex.results import (
    ClassMap,
    Extras,
    MultiRexExplanation,
    StageCost,
    SufficientSet,
    empty_set,
)
from xaiserve.explainers.multirex.spotlights import extractions
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import Event, Goal, QueryPlan, Verdicts, ask, decide, gather
from xaiserve.perturb.query import NOTHING, Query, Ranked, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Saliency, Scores

Asks = Generator[Query | Event, Scores | None, None]
"""Part of a plan that leaves its result in the object it belongs to."""


class Stages:
    """One search at work. Whatever a stage has verified stays here when it is stopped."""

    def __init__(self, options: MultiRexOptions, case: Case, keys: Keys) -> None:
        self._options = options
        self._case = case
        self._keys = keys
        self._scenes = make_scenes(options, case, keys)
        self._goal = Goal(case.rule, case.target)
        self._confidence = 0.0
        self._search: ResponsibilitySearch | None = None
        self._map: Saliency | None = None
        self._empty: list[SufficientSet] = []
        self._walked: dict[int, SufficientSet] = {}
        self._walks_over = False
        self._members: list[SufficientSet] = []
        self._extras = Extras()
        self._costs: list[StageCost] = []

    def begin(self) -> Asks:
        """Learn the confidence to be kept, and whether anything need be shown for it.

        Raises
        ------
        NoExplanationError
            The classifier does not decide for the target on the whole image.
        """
        yield from self._stage("target", self._begin())

    def run(self) -> Asks:
        """Go through the other stages; nothing is asked when the bare fill suffices."""
        if self._search is None:
            return
        options = self._options
        yield from self._stage("responsibility", self._search.run())
        self._map = self._search.saliency()
        parts = [self._stage("walks", self._walk())]
        if options.pool or options.pairs or options.exclude:
            parts.append(self._stage("family", self._disjoint(self._search).run()))
        yield from gather(parts)
        yield from self._stage("examination", self._examine())

    def check_found(self) -> None:
        """Refuse a search that has come to its end without a set.

        Raises
        ------
        NoExplanationError
            The map is flat, or nothing that was tried is what the options ask of a set.
        """
        if self._sets:
            return
        if not bool(self._saliency.any()):
            raise NoExplanationError(
                f"no mutant of the {self._options.iterations} searches that hides a part of the "
                f"picture keeps target {self._case.target} (the map is flat): the model needs "
                "nearly all of it; raise iterations, lower min_box_area, or choose another baseline"
            )
        tau = self._options.tau
        wanted = f" with {tau:g} times the whole image's confidence" if tau else ""
        raise NoExplanationError(
            f"no set of pixels makes the model decide for target {self._case.target}{wanted}: "
            f"{'lower tau, or ' if tau else ''}choose the class that it decides for"
        )

    def conclude(self, name: str) -> MultiRexExplanation:
        """Return what was found, as the explainer ``name``."""
        case, extras, saliency = self._case, self._extras, self._saliency
        sets = self._sets
        if extras.robustness:
            shares = zip(sets, extras.robustness, strict=True)
            sets = tuple(replace(one, robustness=share) for one, share in shares)
        selected, exact = select_family([one.mask for one in sets], self._options.overlap)
        smallest = sorted(selected, key=lambda index: sets[index].area_px)
        selected = tuple(sorted(smallest[: self._options.max_explanations]))
        return MultiRexExplanation(
            image_id=case.image_id,
            explainer=name,
            target=case.target,
            saliency=saliency,
            confidence=self._confidence,
            explanations=sets,
            selected=selected,
            exact=exact,
            flat_map=not bool(saliency.any()),
            trivial=bool(self._empty),
            concentration_bits=concentration(saliency),
            contrastive=extras.contrastive,
            complete=extras.complete,
            contrastive_union=extras.contrastive_union,
            curves=extras.curves,
            class_maps=self._class_maps(),
            statistics=self._search.statistics if self._search else None,
            costs=tuple(self._costs),
            notes=self._notes(),
        )

    def _begin(self) -> Asks:
        case = self._case
        whole, blank = yield from _ends(self._scenes.extraction, case)
        if not bool(whole.passes[0]) and not self._options.allow_non_top1:
            raise NoExplanationError(
                f"target {case.target} is not what the model decides for this image "
                f"(score {float(whole.confidence[0]):.4f}); "
                f"the top class is {int(whole.scores[0].argmax())}; name that one, or set "
                "allow_non_top1"
            )
        self._confidence = float(whole.confidence[0])
        self._goal = replace(self._goal, floor=self._options.tau * self._confidence)
        if bool(self._goal.judge(blank.scores).passes[0]):
            self._empty.append(empty_set((case.height, case.width), blank, self._goal))
            return
        self._search = ResponsibilitySearch(
            self._options, case, self._scenes.searches, self._keys, confidence=self._confidence
        )

    def _disjoint(self, search: ResponsibilitySearch) -> Disjoint:
        known = self._goal.floor == 0 and len(self._scenes.searches) == 1
        return Disjoint(
            case=self._case,
            scene=self._scenes.extraction,
            goal=self._goal,
            confidence=self._confidence,
            saliency=self._saliency,
            seen=search.seen,
            certain=known,
            whole=self._global,
            options=self._options,
            keys=self._keys.child("disjoint"),
            found=self._members,
        )

    def _walk(self) -> Asks:
        walks = extractions(self._extraction, self._keys)
        noted = [_noting(self._walked, index, walk) for index, walk in enumerate(walks)]
        yield from gather(noted)
        self._walks_over = True

    def _global(self) -> QueryPlan[SufficientSet | None]:
        """Wait for the walks, asking nothing in their rounds, and return the global set."""
        while not self._walks_over:
            yield from ask(NOTHING)
        whole = (one for one in self._walked.values() if one.kind == "global")
        return next(whole, None)

    def _examine(self) -> Asks:
        """Look closer at the map and the sets, as far as the options ask for it."""
        options, extraction, extras = self._options, self._extraction, self._extras
        scene, masks = extraction.scene, [one.mask for one in self._sets]
        flat, rank = not bool(extraction.saliency.any()), ranking(extraction.saliency)
        if not flat:
            contrast = Contrast(scene, self._goal, self._confidence, rank, options)
            yield from contrast.run(masks, extras)
        keys = self._keys.child("quality")
        quality = Quality(self._case, scene, self._confidence, rank, options, keys)
        yield from quality.run(masks, extras, flat=flat)

    @property
    def _extraction(self) -> Extraction:
        return Extraction(self._scenes.extraction, self._goal, self._saliency, self._options)

    @property
    def _saliency(self) -> Saliency:
        if self._map is not None:
            return self._map
        if self._search is None:
            return torch.zeros(self._case.height, self._case.width)
        return self._search.saliency()

    @property
    def _sets(self) -> tuple[SufficientSet, ...]:
        walked = (self._walked[index] for index in sorted(self._walked))
        return (*self._empty, *walked, *self._members)

    def _class_maps(self) -> tuple[ClassMap, ...]:
        if self._search is None or not self._options.class_maps:
            return ()
        maps = self._search.class_maps()
        return tuple(ClassMap(target=label, saliency=maps[label]) for label in sorted(maps))

    def _notes(self) -> tuple[str, ...]:
        options = self._options
        notes = list(idle_notes(options))
        if self._case.context is not None and options.baseline != "context":
            notes.append("the context picture has no effect: it goes with baseline context")
        climbing = options.objective != "none" and options.spotlights > 1
        if climbing and not self._empty and not bool(self._saliency.any()):
            anywhere = "the map is flat: spotlights looked anywhere, not by objective"
            notes.append(f"{anywhere} {options.objective}")
        return tuple(notes)

    def _stage(self, name: str, part: Generator[Query | Event, Scores | None, object]) -> Asks:
        """Run ``part`` and note what it asks, also when it is stopped."""
        metered = _Metered(part)
        try:
            yield from metered
        finally:
            self._costs.append(
                StageCost(stage=name, questions=metered.questions, rounds=metered.rounds)
            )


class _Metered(Generator[Query | Event, Scores | None, object]):
    """A part of a plan whose questions are counted."""

    def __init__(self, part: Generator[Query | Event, Scores | None, object]) -> None:
        self._part = part
        self.questions = 0
        self.rounds = 0

    @override
    def send(self, value: Scores | None) -> Query | Event:
        return self._noted(self._part.send(value))

    @override
    def throw(self, *error: Any) -> Query | Event:  # Any: the three forms that Python allows
        return self._noted(self._part.throw(*error))

    def _noted(self, turn: Query | Event) -> Query | Event:
        if not isinstance(turn, Event) and len(turn):
            self.questions += len(turn)
            self.rounds += 1
        return turn


def _ends(scene: Scene, case: Case) -> QueryPlan[tuple[Verdicts, Verdicts]]:
    """Ask for the whole image and for the bare fill."""
    pixels = case.height * case.width
    rank = torch.arange(pixels).view(case.height, case.width)
    both = Ranked.prefixes(scene, rank, [pixels, 0], alone=True)
    found = yield from decide(both, Goal(case.rule, case.target))
    whole, blank = (
        Verdicts(found.passes[row], found.confidence[row], found.scores[row])
        for row in (slice(0, 1), slice(1, 2))
    )
    return whole, blank


def _noting(found: dict[int, SufficientSet], index: int, walk: Asking) -> QueryPlan[None]:
    """Run one walk and keep its set outside, where an early stop cannot lose it."""
    result = yield from walk
    if result is not None:
        found[index] = result
