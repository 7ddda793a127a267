"""The lane of the model in this process: buffers, and when batches are composed ahead."""

import threading
import time

import pytest
import torch

from xaiserve.errors import ClassifierFaultError
from xaiserve.perturb.lanes import AHEAD, LOOKS, LocalLane
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


def test_batches_of_a_model_that_computes_elsewhere_are_composed_ahead():
    """It sleeps; a call that keeps its thread busy, as a first one does, begins the count anew."""
    good = echo_classifier()
    calls = []

    def far(images):
        calls.append(len(images))
        begun = time.thread_time()
        while len(calls) == LOOKS and time.thread_time() < begun + 0.02:
            pass
        time.sleep(0.02)
        return good.scores(images)

    lane = LocalLane(ToyClassifier("far", good.spec, far), 4)
    depths = []
    for _ in range(2 * LOOKS):
        depths.append(lane.depth)
        lane.begin([levels([0.1])])
    assert depths == [1] * 2 * LOOKS
    ahead = [lane.begin([levels([value])]) for value in (0.1, 0.2)]
    assert lane.depth == AHEAD
    assert [brightness(each.result(LIMIT_S).scores) for each in ahead] == [[0.1], [0.2]]
    lane.close()


def test_batches_of_a_busy_model_take_turns_with_composing():
    lane = LocalLane(echo_classifier(), 4)
    for _ in range(2 * LOOKS):
        assert lane.begin([levels([0.1])]).done()
    assert lane.depth == 1


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
