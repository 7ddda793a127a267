"""What is asked alone is scored exactly, whoever answers."""

import torch
from typing_extensions import override

from xaiserve.perturb.drive import run
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.lanes import LocalLane
from xaiserve.perturb.plan import QueryPlan, ask
from xaiserve.perturb.query import join
from xaiserve.testing.plans import IMAGE, echo_classifier, levels
from xaiserve.testing.toys import ToyClassifier, toy_spec
from xaiserve.types import Images, Scores

LEVELS = [0.12, 0.34, 0.57]


class Coarse(ToyClassifier):
    """Rounds its scores to tenths unless they must be exact."""

    @override
    def score_inputs(self, inputs: Images, *, exact: bool = False) -> Scores:
        scores = super().score_inputs(inputs, exact=exact)
        return scores if exact else scores.mul(10).round().div(10)


def coarse() -> Coarse:
    return Coarse("coarse", toy_spec(IMAGE), lambda images: echo_classifier().scores(images))


def mixed_plan() -> QueryPlan[list[float]]:
    scores = yield from ask(join([levels(LEVELS), levels(LEVELS, alone=True), levels(LEVELS)]))
    return [round(level, 4) for level in scores[:, 1].tolist()]


EXPECTED = [0.1, 0.3, 0.6, *LEVELS, 0.1, 0.3, 0.6]


def test_a_driver_asks_for_exact_scores_of_what_is_alone() -> None:
    assert run(mixed_plan(), coarse()) == EXPECTED


def test_an_engine_asks_for_exact_scores_of_what_is_alone() -> None:
    with Engine(coarse()) as engine:
        tickets = [engine.submit(mixed_plan()) for _ in range(3)]
        assert [ticket.result() for ticket in tickets] == [EXPECTED] * 3


def test_a_lane_that_scores_on_a_thread_of_its_own_does_so_too() -> None:
    lane = LocalLane(coarse(), 8, depth=2)
    rough, exact = (lane.begin([levels([0.12], alone=alone)]) for alone in (False, True))
    assert torch.allclose(rough.result().scores[:, 1], torch.tensor([0.1]))
    assert torch.allclose(exact.result().scores[:, 1], torch.tensor([0.12]))
    lane.close()
