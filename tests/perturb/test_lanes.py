"""The lane of the model in this process: buffers, and when batches are composed ahead."""

import threading

import pytest
import torch

from xaiserve.errors import ClassifierFaultError
from xaiserve.perturb.lanes import AHEAD, ELSEWHERE, LOOKS, LocalLane
from xaiserve.testing.plans import brightness, echo_classifier, levels
from xaiserve.testing.toys import ToyClassifier

LIMIT_S = 30


def test_the_next_batch_is_composed_while_this_one_is_scored():
    """With depth, `begin` returns while the model is still at the batch before."""
    scoring, go_on = threading.Event(), threading.Event()
    good = echo_classifier()

    def slow(images):
        scoring.set()
        go_on.wait(LIMIT_S)
        return good.scores(images)

    lane = LocalLane(ToyClassifier("slow", good.spec, slow), 4, depth=2)
    first = lane.begin([levels([0.1, 0.2])])
    scoring.wait(LIMIT_S)
    second = lane.begin([levels([0.3]), levels([0.4])])
    assert not first.done()
    go_on.set()
    assert brightness(first.result(LIMIT_S).scores) == [0.1, 0.2]
    assert brightness(second.result(LIMIT_S).scores) == [0.3, 0.4]
    lane.close()


class Calls:
    """A model and its clocks: each call takes a second, of which it wants a core for a share."""

    def __init__(self, *shares: float) -> None:
        self.shares = iter(shares)
        self.now = self.wanted = 0.0
        good = echo_classifier()

        def scores(images):
            self.now += 1
            self.wanted += next(self.shares, 0)
            return good.scores(images)

        model = ToyClassifier("timed", good.spec, scores)
        self.lane = LocalLane(model, 4, clock=lambda: self.now, busy=lambda: self.wanted)

    def depths(self, calls):
        found = []
        for _ in range(calls):
            found.append(self.lane.depth)
            self.lane.begin([levels([0.1])])
        return found


def test_batches_of_a_model_that_computes_elsewhere_are_composed_ahead():
    """A call that keeps its thread busy, as a first one does, begins the count anew."""
    calls = Calls(*[ELSEWHERE / 2] * (LOOKS - 1), 2 * ELSEWHERE)
    assert calls.depths(2 * LOOKS) == [1] * 2 * LOOKS
    ahead = [calls.lane.begin([levels([value])]) for value in (0.1, 0.2)]
    assert calls.lane.depth == AHEAD
    assert [brightness(each.result(LIMIT_S).scores) for each in ahead] == [[0.1], [0.2]]
    calls.lane.close()


def test_batches_of_a_busy_model_take_turns_with_composing():
    assert Calls(*[2 * ELSEWHERE] * 2 * LOOKS).depths(2 * LOOKS) == [1] * 2 * LOOKS


def test_a_buffer_is_free_again_after_a_batch_that_failed():
    good = echo_classifier()
    calls = []

    def moody(images):
        calls.append(len(images))
        return good.scores(images) * (torch.nan if len(calls) < 4 else 1)

    lane = LocalLane(ToyClassifier("moody", good.spec, moody), 4, depth=2)
    for _ in range(3):
        with pytest.raises(ClassifierFaultError, match="NaN"):
            lane.begin([levels([0.1, 0.2])]).result(LIMIT_S)
    assert brightness(lane.begin([levels([0.1, 0.2])]).result(LIMIT_S).scores) == [0.1, 0.2]
    lane.close()
