"""``clear-oracle``: CLEAR Image's pointing score and fidelity where the truth is known.

Diseased synthetic pictures with their ideal twins as contrast, and a classifier that is the class
rule itself (`xaiserve.testing.clear_oracles`): whatever is missed is the method's fault. Pictures
with a rectangle are left out of the score, as no map can win there: the rectangle counts as a
feature to be found, and lowers the probability.
"""

from collections.abc import Iterator
from statistics import mean
from typing import Final

from benchmarks.common import Report, report
from xaiserve.api import explain
from xaiserve.data.sample import Sample
from xaiserve.explainers.base import Explanation
from xaiserve.explainers.clear_image import ClearExplanation, ClearImage
from xaiserve.metrics.grid_pointing import GridPointingGame
from xaiserve.testing.clear_oracles import AND, diseased_samples, oracle, oracle_case

BAR: Final = 0.99
FIDELITY_BAR: Final = 0.01
SLOPE: Final = 12.0
FULL_IMAGES: Final = 300
QUICK_IMAGES: Final = 100

CLEAR: Final = ClearImage(segmenter="gan_diff", max_predictors=6)


def run(quick: bool) -> Report:
    """Score the maps of the conjunction's explanations."""
    found = list(_explained(QUICK_IMAGES if quick else FULL_IMAGES))
    scores = {sample.name: _score(sample, one) for sample, one in found}
    plain = [scores[sample.name] for sample, _ in found if not _has_rectangle(sample)]
    errors = [one.fidelity_mean for _, one in found if one.fidelity_mean is not None]
    value, fidelity = mean(plain), mean(errors)
    return report(
        round(value, 4),
        f">= {BAR}",
        holds=value >= BAR and fidelity <= FIDELITY_BAR,
        figures={
            "images": len(found),
            "without_rectangle": len(plain),
            "pointing_all": round(mean(scores.values()), 4),
            "fidelity_mean": round(fidelity, 5),
            "fidelity_bar": FIDELITY_BAR,
            "fidelity_max": round(max(one.fidelity_max or 0.0 for _, one in found), 5),
            "centering_gap_mean": round(mean(one.regression.centering_gap for _, one in found), 5),
            "without_counterfactual": sum(not one.counterfactuals for _, one in found),
            "distinct_masks_mean": round(mean(one.queries_distinct for _, one in found), 2),
        },
    )


def _explained(count: int) -> Iterator[tuple[Sample, ClearExplanation]]:
    for sample in diseased_samples(count):
        (found,) = explain(CLEAR, oracle(sample, AND, SLOPE), [oracle_case(sample)])
        if not isinstance(found, ClearExplanation):
            raise TypeError(f"clear-image answered {type(found).__name__}")
        yield sample, found


def _score(sample: Sample, found: Explanation) -> float:
    features = [feature.squares for feature in sample.features]
    return GridPointingGame().score(found.saliency, features).value or 0.0


def _has_rectangle(sample: Sample) -> bool:
    return any(feature.name == "rectangle" for feature in sample.features)
