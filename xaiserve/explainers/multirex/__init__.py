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
8. Defaults that are not the tool's, which preset ``rex`` sets back: prefixes are bracketed
   (``walk``), one place is looked at (``spotlights`` 1 for 10), disjoint sets are looked for
   (``pool``, ``pairs``, ``exclude``) and made small (``prune``).
9. A search that ends without a set has no answer, with the reason; the tool returns an empty one.
"""

from xaiserve.explainers.multirex.family import dice_matrix, select_family
from xaiserve.explainers.multirex.results import MultiRexExplanation, SufficientSet
from xaiserve.explainers.multirex.search import MultiRex

__all__ = ["MultiRex", "MultiRexExplanation", "SufficientSet", "dice_matrix", "select_family"]
