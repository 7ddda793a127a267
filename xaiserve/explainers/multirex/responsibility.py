"""The responsibility map: independent random recursive searches, all of them in lock-step.

One search cuts the picture into four boxes at a random point, shows every non-empty proper subset
of them (14 *mutants*), rewards the boxes of the mutants that keep the label, and goes on inside
what passes. Searches are independent, so each round asks the questions of all of them at once.

After Chockler, Kelly, Kroening and Sun, arXiv 2411.08875, as its tool ReX 0.4.1 computes it. The
parts: `boxes` (where to cut), `mutants` (what to ask), `scoring` (rewards), `frontier` (what is
refined next), `merging` (the map).
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xaiserve.explainers.multirex.boxes import BoxNode, Splitter, make_splitter
from xaiserve.explainers.multirex.frontier import Areas
from xaiserve.explainers.multirex.iteration import Iteration
from xaiserve.explainers.multirex.merging import Ledger, merged
from xaiserve.explainers.multirex.mutants import MEMBERS, SUBSETS, Round, Split, Table
from xaiserve.explainers.multirex.options import MultiRexOptions
from xaiserve.explainers.multirex.scoring import CONFIDENCE, SHARES, UNIT, rewards_of
from xaiserve.explainers.multirex.seen import SeenSets, Sightings
from xaiserve.models.spec import Rule
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import Event, Goal, Progress, Verdicts, decide
from xaiserve.perturb.query import Joined, Query, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Saliency, Scores

SPLITS_PER_QUERY: Final = 128
"""Splits asked at once: 1792 rows, so that a thousand searches do not hold a thousand answers."""

ROWS_PER_QUERY: Final = SPLITS_PER_QUERY * (len(SUBSETS) + 2)
"""Most rows of one question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStatistics:
    """What the searches did.

    Parameters
    ----------
    iterations_used
        Searches that got at least one answer.
    depth_max
        Deepest level of a box that was part of a passing mutant.
    passing, failing
        Mutants by verdict.
    mean_box_area
        Mean over the searches of the mean area, in pixels, of the boxes on its deepest such level.
    certificates
        At frontier ``held``: per search, the pixels of its sufficient set after each round, the
        whole picture first; never growing. Empty at frontier ``rex``.
    """

    iterations_used: int
    depth_max: int
    passing: int
    failing: int
    mean_box_area: float
    certificates: tuple[tuple[int, ...], ...]


class ResponsibilitySearch:
    """Run searches of one picture and keep what they rewarded and saw.

    Parameters
    ----------
    options
        Of those, the ones of the map.
    case
        The target, its rule, and the size of the picture.
    scenes
        The picture over its fill: one for all searches, or one each (repeated if there are fewer).
        The picture itself must keep the label; it need not be the case's.
    keys
        Where the cuts come from: a search's depend on ``keys`` and its number only.
    confidence
        The target's score for the whole image, of which ``confidence_filter`` is a share.
    first, iterations
        Numbers of the searches to run: ``iterations`` (those of the options when none) from
        ``first`` on. Pieces run apart, their ledgers joined in order, give the map of the whole.
    splitter
        Where boxes are cut; drawn as the options say when none.

    Attributes
    ----------
    seen
        All passing mutants, and all 14 of every first split.
    ledger
        The rewards.
    """

    def __init__(
        self,
        options: MultiRexOptions,
        case: Case,
        scenes: Sequence[Scene],
        keys: Keys,
        *,
        confidence: float,
        first: int = 0,
        iterations: int | None = None,
        splitter: Splitter | None = None,
    ) -> None:
        self._options = options
        self._goal = Goal(case.rule, case.target, options.confidence_filter * confidence)
        self._scenes = scenes
        cut = splitter or make_splitter(options, keys)
        root = BoxNode(0, case.height, 0, case.width)
        count = options.iterations if iterations is None else iterations
        self._searches = {
            number: Iteration(number, root, cut, options) for number in range(first, first + count)
        }
        unit = UNIT * CONFIDENCE if options.weighted else UNIT
        self.ledger = Ledger(case.height, case.width, unit)
        self.seen = SeenSets()
        self._passing = self._failing = 0

    def run(self) -> Generator[Query | Event, Scores | None, None]:
        """Advance all searches together until each has ended; one question per round, mostly."""
        live = list(self._searches.values())
        while live := [search for search in live if search.prepare()]:
            yield Progress("responsibility", len(self._searches) - len(live), len(self._searches))
            splits = [split for search in live for split in search.splits]
            passes, areas = yield from self._try_all(splits)
            at = 0
            for search in live:
                mine = slice(at, at + len(search.splits))
                search.learn(passes[mine], areas[mine])
                at = mine.stop

    def saliency(self) -> Saliency:
        """Merge what was rewarded so far, (h, w); all zero when nothing was."""
        options = self._options
        return merged(self.ledger, self._goal.target, options.merge, negative=options.negative)

    def class_maps(self) -> dict[int, Saliency]:
        """Merge the rewards of every other class that a mutant was given.

        Kept with options ``class_maps`` and ``negative`` only; empty otherwise.
        """
        others = [label for label in self.ledger.labels() if label != self._goal.target]
        return {label: merged(self.ledger, label, self._options.merge) for label in others}

    @property
    def statistics(self) -> SearchStatistics:
        searches = list(self._searches.values())
        areas = [search.mean_area() for search in searches]
        certificates = [search.certificates() for search in searches]
        return SearchStatistics(
            iterations_used=sum(search.used > 0 for search in searches),
            depth_max=max(search.depth for search in searches),
            passing=self._passing,
            failing=self._failing,
            mean_box_area=sum(areas) / len(areas),
            certificates=tuple(found for found in certificates if found),
        )

    def _try_all(
        self, splits: list[Split]
    ) -> Generator[Query | Event, Scores | None, tuple[Table, Areas]]:
        """Ask in as many questions as bound the memory of an answer."""
        found: list[tuple[Table, Areas]] = []
        for start in range(0, len(splits), SPLITS_PER_QUERY):
            found.append((yield from self._try(splits[start : start + SPLITS_PER_QUERY])))  # noqa: PERF401 -- a comprehension cannot yield
        passes, areas = zip(*found, strict=True)
        return np.concatenate(passes), np.concatenate(areas)

    def _try(
        self, splits: list[Split]
    ) -> Generator[Query | Event, Scores | None, tuple[Table, Areas]]:
        """Ask for the mutants of ``splits``; note their rewards and what was seen."""
        witness = self._options.scoring == "witness"
        none = witness or self._options.frontier == "held"
        tried = Round(splits, none=none, whole=witness)
        verdicts = yield from decide(self._question(tried), self._goal)
        passes = tried.table(verdicts.passes.numpy())
        self._reward(tried, passes, verdicts)
        self._note(tried, verdicts)
        return passes, tried.areas

    def _question(self, tried: Round) -> Query:
        """Ask each search's rows over its own fill."""
        whole = tried.query(self._scenes[0])
        if len(self._scenes) == 1:
            return whole
        owner = tried.iteration[tried.split]
        ends = [0, *(np.flatnonzero(np.diff(owner)) + 1).tolist(), len(owner)]
        return Joined(
            tuple(
                replace(whole[start:stop], scene=self._scenes[owner[start] % len(self._scenes)])
                for start, stop in pairwise(ends)
            )
        )

    def _reward(self, tried: Round, passes: Table, verdicts: Verdicts) -> None:
        options, goal = self._options, self._goal
        decided = passes
        if goal.floor > 0:
            decided = tried.table(goal.rule.decides(verdicts.scores, goal.target).numpy())
        weights = _weights(tried, verdicts) if options.weighted else None
        rewards = rewards_of(options.scoring, decided, passes, weights)
        if options.concentrate:
            rewards = rewards * tried.depth[:, None]
        owner = np.repeat(tried.iteration, 4)
        target = np.full(len(owner), goal.target)
        self.ledger.add(owner, target, tried.corners.reshape(-1, 4), rewards.ravel())
        if options.class_maps or options.negative:
            self._reward_others(tried, passes, decided, verdicts.scores)

    def _reward_others(self, tried: Round, passes: Table, decided: Table, scores: Scores) -> None:
        """Share among its boxes what a mutant that lost the label was given instead."""
        options, mutant, split = self._options, tried.mutant, tried.split
        some: NDArray[np.bool_] = np.logical_or.reduce(passes[:, : len(SUBSETS)], axis=1)
        lost = some[split] & ~decided[split, mutant] & (mutant < len(SUBSETS))
        row, label = _labels(scores.numpy(), np.flatnonzero(lost), self._goal.rule)
        at, child = np.nonzero(MEMBERS[mutant[row]])
        row, label = row[at], label[at]
        rewards = SHARES[mutant[row], child]
        if options.weighted:
            rewards = rewards * _steps(scores.numpy()[row, label])
        if options.concentrate:
            rewards = rewards * tried.depth[split[row]]
        boxes = tried.corners[split[row], child]
        self.ledger.add(tried.iteration[split[row]], label, boxes, rewards)

    def _note(self, tried: Round, verdicts: Verdicts) -> None:
        passes = verdicts.passes.numpy()
        passing = int(passes.sum())
        self._passing += passing
        self._failing += len(passes) - passing
        kept = passes | (tried.depth[tried.split] == 1)
        margins = self._goal.rule.log_margins(verdicts.scores, self._goal.target).numpy()
        self.seen.add(
            Sightings(
                boxes=tried.boxes[kept[tried.row]].astype(np.int32),
                count=np.bincount(tried.row, minlength=len(tried))[kept].astype(np.int32),
                areas=tried.areas[tried.split, tried.mutant][kept].astype(np.int32),
                margins=margins[kept],
                passes=passes[kept],
                roots=(tried.depth[tried.split] == 1)[kept],
            )
        )


def _weights(tried: Round, verdicts: Verdicts) -> NDArray[np.int64]:
    """Put the confidences into a table (s, 14)."""
    found = np.zeros(tried.asked.shape, dtype=np.int64)
    found[tried.split, tried.mutant] = _steps(verdicts.confidence.numpy())
    return found[:, : len(SUBSETS)]


def _steps(confidence: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.rint(confidence.astype(np.float64) * CONFIDENCE).astype(np.int64)


def _labels(
    scores: NDArray[np.float32], rows: NDArray[np.int64], rule: Rule
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """List (row, class) for the classes that ``rows`` are given: the top one, or all decided."""
    if not rule.thresholds:
        return rows, scores[rows].argmax(axis=1)
    at, label = np.nonzero(scores[rows] >= np.array(rule.thresholds, np.float32))
    return rows[at], label
