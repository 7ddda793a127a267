"""``clear-overdetermination``: overdetermined images against those called so.

The disjunction's classifier needs one pathological shape: pictures with two or three are
overdetermined, those with one are not. For the conjunction's, none is.
"""

from collections.abc import Iterator
from typing import Final

from benchmarks.common import Report, report
from xaiserve.api import explain
from xaiserve.data.sample import Sample
from xaiserve.explainers.clear_image import ClearExplanation, ClearImage
from xaiserve.testing.clear_oracles import (
    AND,
    OR,
    Evidence,
    diseased_samples,
    oracle,
    oracle_case,
    shaped_samples,
)

BAR: Final = 0.95
SLOPE: Final = 12.0
FULL_EACH: Final = 100
QUICK_EACH: Final = 30
CLEAR: Final = ClearImage(segmenter="gan_diff", max_predictors=6)


def run(quick: bool) -> Report:
    """Count what is called overdetermined, among three kinds of pictures."""
    each = QUICK_EACH if quick else FULL_EACH
    one = _called(shaped_samples(each, (1,)), OR)
    more = _called(shaped_samples(each, (2, 3)), OR)
    none = _called(diseased_samples(each), AND)
    wrongly = sum(one) + sum(none)
    recall = sum(more) / len(more)
    precision = sum(more) / max(1, sum(more) + wrongly)
    value = {"recall": round(recall, 4), "precision": round(precision, 4)}
    return report(
        value,
        f">= {BAR}",
        holds=min(recall, precision) >= BAR,
        figures={
            "one_shape": f"{sum(one)} of {len(one)}",
            "two_or_three_shapes": f"{sum(more)} of {len(more)}",
            "conjunction": f"{sum(none)} of {len(none)}",
        },
    )


def _called(samples: Iterator[Sample], evidence: Evidence) -> list[bool]:
    called = []
    for sample in samples:
        (found,) = explain(CLEAR, oracle(sample, evidence, SLOPE), [oracle_case(sample)])
        if not isinstance(found, ClearExplanation):
            raise TypeError(f"clear-image answered {type(found).__name__}")
        called.append(found.overdetermined)
    return called
