"""SAG: several sets of patches that each keep most of the score, and the graph below them.

V. Shitole, F. Li, M. Kahng, P. Tadepalli, A. Fern, *One Explanation is Not Enough: Structured
Attention Graphs for Image Classification*, NeurIPS 2021, arXiv 2011.06733, sections 4 and 5.
Details and defaults are those of the authors' published code.

Patches are the cells of a coarse grid that is enlarged bilinearly, so that their edges are soft.
They are ordered by a mask that gradients find (`sag.ordering`); from there on only scores are
needed (`sag.beam`, `sag.roots`).

Deviations from the published code:

1. Two states of one set of patches are one state, and the beam keeps ``beam`` states; there a set
   that was reached twice takes two places, and one state more is kept.
2. Roots of one level are ordered by their own score; there by the score before patches went.
3. The graph has each set once; there it is a tree.
4. ``blur`` is the blur of the other methods here; there a Gaussian of 51 pixels, sigma 50.
5. The empty set is tried: where the fill alone keeps the score there is nothing to search.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from xaiserve.explainers.base import Explanation
from xaiserve.explainers.baselines._captum import backward_bytes
from xaiserve.explainers.baselines.sag.beam import Patchwork, Root, find_roots
from xaiserve.explainers.baselines.sag.ordering import (
    PIECE_ROWS,
    Descent,
    Grid,
    Objective,
    order_mask,
)
from xaiserve.explainers.baselines.sag.roots import Graph, Node, graph, largest_family
from xaiserve.models.classifier import DifferentiableClassifier
from xaiserve.parameters import check_fields, param
from xaiserve.perturb.case import Case
from xaiserve.perturb.fills import make_fill
from xaiserve.perturb.plan import Event, QueryPlan, Stop
from xaiserve.perturb.query import Scene, enlarged
from xaiserve.perturb.rng import Keys
from xaiserve.types import Image

__all__ = ["Node", "Root", "Sag", "SagExplanation"]

_CODE = "published code of Shitole et al. 2021"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SagExplanation(Explanation):
    """Roots, the family of those that hardly overlap, and the graph below the family's first.

    Parameters
    ----------
    saliency
        How much the ordering mask hides a pixel, in [0, 1].
    confidence
        The target's score for the whole image.
    explanations
        Every root found, in the order found.
    family
        Indices of the most roots of which no two share more than ``shared`` patches.
    selected
        The first of the family, at most ``shown``.
    trivial
        The bare fill keeps the score already: nothing was searched.
    nodes
        The graph's sets of patches, the selected roots first.
    edges
        Pairs of indices of nodes: a set, and the same without one patch.
    """

    confidence: float
    explanations: tuple[Root, ...]
    family: tuple[int, ...]
    selected: tuple[int, ...]
    trivial: bool
    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sag:
    """Find sets of patches that each keep nine tenths of the score, and what loses it.

    Costs some 50 model inputs with gradients, then up to ``beam * successors`` per level of the
    search, one per patch and root for stripping, and one per node of the graph.
    """

    name: ClassVar[str] = "sag"
    version: ClassVar[int] = 1

    cells: int = param(7, "Patches along each side.", low=2, high=16, source=_CODE)
    fill: Literal["black", "neutral", "blur"] = param("black", "What hides a patch.", source=_CODE)
    iterations: int = param(
        2, "Steps of the mask that orders the patches.", low=1, high=100, source=_CODE
    )
    steps: int = param(
        20, "Masks that a gradient is integrated over.", low=1, high=1000, source=_CODE
    )
    hiding: float = param(
        1.0, "Weight of the mean hidden share (L1).", low=0, high=1e6, source=_CODE
    )
    roughness: float = param(20.0, "Weight of the total variation.", low=0, high=1e6, source=_CODE)
    exponent: float = param(2.0, "Exponent of the total variation.", low=1, high=4, source=_CODE)
    descent: Descent = param(
        "line-search",
        "How the mask steps; the code sets up Adam but takes its gradient only.",
        source=_CODE,
    )
    rate: float = param(0.1, "Rate of Adam.", low=1e-6, high=1, source=_CODE)
    threshold: float = param(
        0.9,
        "A root keeps more than this share of the whole image's score.",
        low=0.01,
        high=2,
        source=_CODE,
    )
    successors: int = param(
        15, "Patches tried per state of the beam.", low=1, high=256, source=_CODE
    )
    beam: int = param(3, "States kept per level.", low=1, high=100, source=_CODE)
    max_roots: int = param(
        10, "The search ends once there are more roots.", low=1, high=1000, source=_CODE
    )
    shared: int = param(
        1, "Most patches that two roots of the family share.", low=0, high=256, source=_CODE
    )
    shown: int = param(3, "Most roots of the family in the graph.", low=1, high=100, source=_CODE)
    children: int = param(
        3, "Patches taken from a set of the graph; 0 for no graph.", low=0, high=256, source=_CODE
    )
    graph_threshold: float = param(
        0.4,
        "Sets that keep at most this share of the whole image's score end the graph.",
        low=0,
        high=2,
        source=_CODE,
    )

    def __post_init__(self) -> None:
        check_fields(self)

    def attribute(
        self, model: DifferentiableClassifier, case: Case, keys: Keys
    ) -> Generator[Event, None, QueryPlan[SagExplanation]]:
        """Order the patches; the plan that it returns does the rest."""
        scene = Scene(case.image, self._fill(case))
        objective = Objective(
            model=model,
            scene=scene,
            target=case.target,
            hiding=self.hiding,
            roughness=self.roughness,
            exponent=self.exponent,
        )
        mask = yield from order_mask(
            objective,
            self.cells,
            keys,
            iterations=self.iterations,
            steps=self.steps,
            descent=self.descent,
            rate=self.rate,
        )
        return self._search(case, scene, mask)

    def _fill(self, case: Case) -> Image:
        if self.fill == "black":
            return torch.zeros_like(case.image)
        return make_fill(self.fill, case)

    def _search(self, case: Case, scene: Scene, mask: Grid) -> QueryPlan[SagExplanation]:
        """Ask for both ends, then find roots, the family and the graph.

        When stopped early it returns the roots that were verified and the graph as far as it grew.
        """
        patchwork = Patchwork(scene, case, self.cells)
        whole, blank = yield from patchwork.verify([patchwork.whole, ()])
        floor = self.threshold * whole.confidence
        trivial = blank.confidence > floor
        roots = [patchwork.root(())] if trivial else []
        found: Graph = ((), ())
        try:
            if not trivial:
                yield from find_roots(
                    patchwork,
                    mask.flatten().argsort(stable=True).tolist(),
                    floor=floor,
                    successors=self.successors,
                    width=self.beam,
                    most=self.max_roots,
                    roots=roots,
                )
            shown = [roots[index].patches for index in self._family(roots)[: self.shown]]
            found = yield from graph(
                patchwork,
                shown if self.children else [],
                bound=self.graph_threshold * whole.confidence,
                children=self.children,
            )
        except Stop:
            pass
        family = self._family(roots)
        return SagExplanation(
            image_id=case.image_id,
            explainer=self.name,
            target=case.target,
            saliency=enlarged(1 - mask.unsqueeze(0), case.height, case.width)[0],
            confidence=whole.confidence,
            explanations=tuple(roots),
            family=family,
            selected=family[: self.shown],
            trivial=trivial,
            nodes=found[0],
            edges=found[1],
        )

    def _family(self, roots: Sequence[Root]) -> tuple[int, ...]:
        return largest_family([root.patches for root in roots], self.shared)

    def bytes_in_flight(self, case: Case) -> int:
        """Count a pass back, or the scores of a level that strips all its sets, twice over.

        The number of classes is not known here; a thousand are assumed.
        """
        sets = self.beam * self.successors
        pixels = case.height * case.width
        level = sets * self.cells**2 * 2 * 4 * 1000
        roots = (self.max_roots + sets) * pixels
        return max(backward_bytes(case, rows=min(PIECE_ROWS, self.steps)), level + roots)
