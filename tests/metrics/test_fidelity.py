"""The fidelity error, from figures that can be checked by head."""

import pytest

from xaiserve.metrics.fidelity import FidelityError
from xaiserve.metrics.tally import Tally
from xaiserve.perturb.rng import Keys

KEYS = Keys.root(0, "a job")


def test_the_error_is_the_distance_of_the_probabilities():
    assert FidelityError().errors([0.29, 0.5], [0.31, 0.25]) == pytest.approx((0.02, 0.25))


def test_the_mean_is_over_counterfactuals_and_images_without_are_counted():
    metric = FidelityError()
    whole = sum(
        (
            metric.tally("a", "sick", [0.4, 0.2, 0.1], [0.5, 0.2, 0.1]),
            metric.tally("b", "sick", [0.9], [0.2]),
            metric.tally("c", "sick", [], []),
        ),
        start=Tally(),
    )
    assert whole.micro(KEYS).value == pytest.approx(0.8 / 4)
    assert whole.nulls == {"no_counterfactual": 1}
    assert whole.images == 3


def test_predictions_and_answers_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        FidelityError().errors([0.1, 0.2], [0.1])
