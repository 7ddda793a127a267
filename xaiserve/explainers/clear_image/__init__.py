"""CLEAR Image: why this probability rather than that of a contrast picture.

A. White, K. H. Ngan, J. Phelan, S. Sadeghi Afgeh, K. Ryan, C. C. Reyes-Aldasoro, A. d'Avila Garcez,
*Contrastive Counterfactual Visual Explanations With Overdetermination*, Machine Learning 2023, doi
10.1007/s10994-023-06333-w, arXiv 2106.14556. Constants and details are those of the authors'
released code; ``mode parity`` has its quirks too.

The picture is cut where it differs from the contrast picture, and segments are replaced by it:
first all small sets, for those that flip the decision (counterfactuals), then random ones around
the image, to which a logistic regression is fitted. It is measured by how well it meets the
counterfactuals (fidelity). A segment that alone brings the probability near one is a sufficient
cause; with two of them the image is overdetermined.

Deviations, in ``strict`` mode unless said otherwise:

1. Each distinct mask is asked once, in either mode; how often it was drawn is its weight. The fits
   are the same.
2. Decisions follow the model's own rule where it has more than two classes or a threshold per
   class; the regression is of the target's probability in any case. ``boundary`` sets a number
   instead.
3. The flip test looks both ways; counterfactuals are minimal as sets; the top-up is seeded and has
   two different mutants.
4. The terms' AIC is that of the likelihood which is maximised, it must not get worse, and the
   equation is centred on the image.
5. Sufficient causes are verified by asking the classifier, beside the regression's rule. Where the
   contrast picture keeps the label itself, nothing overdetermines it.
6. Whole-number disks in erosion, no part lost to label 0, blobs of just 1000 pixels; superpixel
   maps have an empty background; a segment's weight is spread over its own pixels.
7. Colour pictures are compared in grey; a cut whose weak differences vanish beside strong ones goes
   on.
8. Perfect separation is fitted with a small ridge. In either mode, an equation that meets every
   row by right, with finite weights, is no separation.
9. Where segments are few, all masks are asked: exact sufficient sets, counterfactuals and Shapley
   values (`lattice`), in either mode.
10. No L1 penalty; a ridge penalty on request.
11. The graph cut takes equal edges in the order of the picture, rounded to steps of 1/65535
    (`graph_cut`); the order of scikit-image depends on the processor.
"""

from xaiserve.explainers.clear_image.results import ClearExplanation
from xaiserve.explainers.clear_image.search import ClearImage

__all__ = ["ClearExplanation", "ClearImage"]
