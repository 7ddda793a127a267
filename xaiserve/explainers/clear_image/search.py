"""The explainer, and one explanation at work."""

from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import torch

from xaiserve.explainers.base import Need
from xaiserve.explainers.clear_image.checks import check_budget, check_scores, checked_contrast
from xaiserve.explainers.clear_image.cut import Cut
from xaiserve.explainers.clear_image.findings import Findings
from xaiserve.explainers.clear_image.fitting import fit_equation
from xaiserve.explainers.clear_image.grid import Grid
from xaiserve.explainers.clear_image.lattice import all_masks, exact_answers
from xaiserve.explainers.clear_image.neighbourhood import Neighbourhood
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.report import describe
from xaiserve.explainers.clear_image.results import ClearExplanation
from xaiserve.explainers.clear_image.segmentation import can_retry, cut
from xaiserve.explainers.clear_image.sufficiency import Sufficiency
from xaiserve.explainers.clear_image.table import Asks, Boundary, Table
from xaiserve.perturb.case import Case
from xaiserve.perturb.plan import QueryPlan, Stop, ask
from xaiserve.perturb.query import Joined, Mix, Pixels, Scene
from xaiserve.perturb.rng import Keys
from xaiserve.types import Scores

ENDS: Final = np.array([[True], [False]])
"""Image and contrast as masks of one segment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearImage(ClearOptions):
    """Explain a probability by what replacing segments by a contrast picture does to it.

    Costs five model inputs, one per distinct mask of one and two replaced segments and of
    ``samples`` random ones, and where nothing flips those of three and four. Stopped early, it fits
    the masks scored so far; before the pairs are known it has nothing to give.
    """

    name: ClassVar[str] = "clear-image"
    version: ClassVar[int] = 1
    needs: ClassVar[frozenset[Need]] = frozenset({"contrast"})
    presets: ClassVar[dict[str, dict[str, object]]] = {
        "synthetic": {"segmenter": "gan_diff", "max_predictors": 6},
        "parity": {"mode": "parity"},
    }

    def plan(self, case: Case, keys: Keys) -> QueryPlan[ClearExplanation]:
        work = Work(self, case, keys)
        yield from work.begin()
        yield from work.search()
        stopped = False
        try:
            yield from work.go_on()
        except Stop:
            stopped = True
        return work.conclude(self.name, stopped=stopped)

    def bytes_in_flight(self, case: Case) -> int:
        """Count pictures, maps and a question's scores, of a thousand classes, and the masks.

        The number of segments is not known before the picture is cut; `max_segments` is assumed
        for the masks and the fits.
        """
        pixels = case.height * case.width
        masks = 4 * self.samples * self.max_segments
        return 4 * case.image.numel() * 4 + 64 * pixels + 8 * 1000 * 256 + 16 * masks


class Work:
    """One explanation at work; what has been found stays here when it is stopped."""

    def __init__(self, options: ClearOptions, case: Case, keys: Keys) -> None:
        self._options = options
        self._case = case
        self._keys = keys
        self._contrast = checked_contrast(case)
        self._scene = Scene(case.image, self._contrast.image)
        self._cut = self._new_cut(0)
        self._issued = 0
        self._ends: Scores
        self._boundary: Boundary
        self._table: Table
        self._grid: Grid
        self._around: Neighbourhood
        self._sufficiency: Sufficiency

    def begin(self) -> Asks:
        """Score image and contrast alone, and see that the classifier says the same twice.

        Raises
        ------
        ClassifierFaultError, InvalidInputError
            See `check_scores`.
        """
        image, contrast = self._case.image, self._contrast.image
        whole = torch.zeros(image.shape[1:], dtype=torch.int64)
        alone = Mix(self._scene, whole, torch.from_numpy(ENDS), alone=True)
        again = Pixels(image.unsqueeze(0), alone=True)
        beside = Pixels(torch.stack([image, contrast]))
        scores = yield from ask(Joined((alone, again, beside)))
        check_scores(scores, self._case)
        self._ends = scores[:2]
        self._boundary = Boundary.of(
            self._case.rule, self._case.target, scores.shape[1], self._options.boundary
        )

    def search(self) -> Asks:
        """Replace single segments and pairs (section 5)."""
        yield from self._search(self._cut)

    def go_on(self) -> Asks:
        """Go deeper and coarser while nothing flips, then look around and ask what suffices."""
        yield from self._grid.deepen()
        while not self._grid.counterfactuals and can_retry(self._cut):
            yield from self._search(self._new_cut(self._cut.how.retries + 1))
            yield from self._grid.deepen()
        yield from self._around.run()
        if self._options.mode == "strict":
            yield from self._sufficiency.run()
        if self._small:
            yield from self._table.ask(all_masks(self._table.segments), counted=False)

    def conclude(self, name: str, *, stopped: bool) -> ClearExplanation:
        """Fit what was scored (section 7) and describe it (sections 8 and 9)."""
        options, table = self._options, self._table
        p1 = float(self._ends[0, self._case.target])
        rows = self._around.rows(self._grid.counterfactuals)
        fitted = fit_equation(rows, self._grid.counterfactuals, p1, self._boundary, options)
        linear = options.regression == "multiple"
        exact = self._small and bool(table.knows(all_masks(table.segments)).all())
        lattice = (
            exact_answers(table, fitted.equation, options.tau, linear=linear) if exact else None
        )
        return describe(
            Findings(
                case=self._case,
                contrast=self._contrast,
                options=options,
                cut=self._cut,
                table=table,
                grid=self._grid,
                around=self._around,
                rows=rows,
                fitted=fitted,
                verified=self._sufficiency.found,
                lattice=lattice,
                issued=self._issued + table.issued,
                stopped=stopped,
            ),
            name,
        )

    @property
    def _small(self) -> bool:
        return 1 << self._table.segments <= self._options.exact_up_to

    def _new_cut(self, retries: int) -> Cut:
        options, keys = self._options, self._keys.child("segments")
        found = cut(self._case, self._contrast.image, options, keys, retries)
        check_budget(found.count, options)
        return found

    def _search(self, found: Cut) -> Asks:
        """Search the grid of a cut; it counts from here on only once its pairs are known."""
        options, labels = self._options, torch.from_numpy(found.numbers)
        decisive = (options.informative_low, options.informative_high, options.tau)
        table = Table(self._scene, labels, found.count, self._boundary, decisive)
        table.note(np.repeat(ENDS, found.count, axis=1), self._ends)
        grid = Grid(table, options)
        yield from grid.begin()
        if found is not self._cut:
            self._issued += self._table.issued
        self._cut, self._table, self._grid = found, table, grid
        self._around = Neighbourhood(table, options, self._keys.child("neighbourhood"))
        self._sufficiency = Sufficiency(table, options)
