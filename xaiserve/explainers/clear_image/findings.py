"""`Findings`: all that one search has found, to be described."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from xaiserve.explainers.clear_image.cut import Cut
from xaiserve.explainers.clear_image.equation import Rows
from xaiserve.explainers.clear_image.fitting import Fitted
from xaiserve.explainers.clear_image.grid import Grid
from xaiserve.explainers.clear_image.neighbourhood import Neighbourhood
from xaiserve.explainers.clear_image.options import ClearOptions
from xaiserve.explainers.clear_image.parts import Lattice, SufficientCause
from xaiserve.explainers.clear_image.table import Masks, Table
from xaiserve.perturb.case import Case, Contrast

Importances = Float64[np.ndarray, " n"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Findings:
    """All that one search has found."""

    case: Case
    contrast: Contrast
    options: ClearOptions
    cut: Cut
    table: Table
    grid: Grid
    around: Neighbourhood
    rows: Rows
    fitted: Fitted
    verified: tuple[SufficientCause, ...]
    lattice: Lattice | None
    issued: int
    stopped: bool

    @property
    def linear(self) -> bool:
        return self.options.regression == "multiple"

    @property
    def parity(self) -> bool:
        return self.options.mode == "parity"

    @property
    def depth(self) -> int:
        """Most segments that were replaced together: not more than there are."""
        return min(self.grid.depth, self.table.segments - 1)

    @property
    def ends(self) -> Masks:
        """Image, then contrast."""
        return np.repeat([[True], [False]], self.table.segments, axis=1)
