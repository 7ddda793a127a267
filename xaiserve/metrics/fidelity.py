"""How far an explanation's own regression is from the classifier, on its counterfactuals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from xaiserve.metrics.scored import Measure
from xaiserve.metrics.tally import Tally, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityError:
    """Distance of the predicted probability from the classifier's, per counterfactual.

    Over a data set it is the mean over all counterfactuals, `Tally.micro`, whose interval resamples
    images. An image without a counterfactual has no error: it counts among `Tally.nulls` as
    ``no_counterfactual``.

    References
    ----------
    White et al., *Contrastive Counterfactual Visual Explanations With Overdetermination*, Machine
    Learning 2023, arXiv 2106.14556.
    """

    measure: ClassVar[Measure] = Measure("fidelity_error", "down")

    def errors(self, predicted: Sequence[float], observed: Sequence[float]) -> tuple[float, ...]:
        """Compare what the regression predicts with what the classifier says, pair by pair."""
        return tuple(abs(mine - its) for mine, its in zip(predicted, observed, strict=True))

    def tally(
        self, image_id: str, group: str, predicted: Sequence[float], observed: Sequence[float]
    ) -> Tally:
        """Collect the errors of one image's counterfactuals; tallies of images add up."""
        errors = self.errors(predicted, observed)
        if not errors:
            return Tally((Trial(image_id, group, None, "no_counterfactual"),))
        return Tally(tuple(Trial(image_id, group, error) for error in errors))
