"""The engine when the model or a plan fails, and what the others notice of it."""

import threading
from concurrent.futures import CancelledError

import pytest
import torch

from xaiserve.errors import ClassifierFaultError
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Progress, Spent, ask
from xaiserve.perturb.query import Pixels
from xaiserve.testing import toys
from xaiserve.testing.plans import IMAGE, counting_plan, echo_classifier, levels


def poisoned_classifier(fault):
    """Answers well unless a picture of brightness 0.66 is in the batch."""
    good = echo_classifier()

    def function(images):
        scores = good.scores(images)
        return fault(scores) if bool((images[:, 0, 0, 0] - 0.66).abs().lt(1e-3).any()) else scores

    return toys.ToyClassifier("poisoned", good.spec, function)


def raising(_):
    raise ValueError("boom")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (raising, "raised ValueError: boom"),
        (lambda scores: scores * torch.nan, "NaN or infinity"),
        (lambda scores: scores[:, :1], r"expected \(1, 2\)"),
    ],
)
def test_a_fault_of_the_model_ends_only_the_plan_it_belongs_to(fault, message):
    def bad():
        yield from ask(levels([0.2]))
        yield from ask(levels([0.66]))

    with Engine(poisoned_classifier(fault), batch_rows=16) as engine:
        good = [engine.submit(counting_plan(0, 5)) for _ in range(3)]
        ticket = engine.submit(bad(), about="occlusion on image x")
        with pytest.raises(ClassifierFaultError, match=message) as caught:
            ticket.result(30)
        assert all(all(each.result(30)) for each in good)
    assert str(caught.value).startswith("occlusion on image x, round 2: model 'poisoned' ")


class ShortClassifier(toys.ToyClassifier):
    """Loses the last row of every batch."""

    def score_inputs(self, inputs, *, exact=False):
        return super().score_inputs(inputs, exact=exact)[:-1]


def test_an_answer_with_rows_missing_is_a_fault_of_the_model():
    good = echo_classifier()
    classifier = ShortClassifier("short", good.spec, good.scores)
    with Engine(classifier) as engine:
        ticket = engine.submit(counting_plan(0, 1))
        with pytest.raises(ClassifierFaultError, match=r"answered \(4, 2\), expected \(5, 2\)"):
            ticket.result(30)


def test_an_error_of_the_plan_reaches_the_caller_with_a_note():
    def broken():
        yield from ask(levels([0.2]))
        raise KeyError("lost")

    with Engine(echo_classifier()) as engine:
        with pytest.raises(KeyError) as caught:
            engine.submit(broken(), about="a broken plan").result(30)
        assert all(engine.submit(counting_plan(0, 2)).result(30))
    assert "a broken plan, round 1" in caught.value.__notes__


def test_a_gradient_method_steps_between_batches_and_can_be_cancelled():
    events = []
    endless = threading.Event()

    def steps():
        for done in range(3):
            yield Spent(4)
            yield Progress("steps", done, 3)
        return "done"

    def forever():
        while True:
            endless.set()
            yield Progress("steps", 0)

    with Engine(echo_classifier()) as engine:
        ticket = engine.submit_steps(steps(), on_event=events.append)
        stuck = engine.submit_steps(forever())
        assert ticket.result(30) == "done"
        assert all(engine.submit(counting_plan(0, 4)).result(30))
        endless.wait(10)
        stuck.cancel()
        with pytest.raises(CancelledError):
            stuck.result(30)
    assert ticket.cost.model_inputs == 12
    assert len(events) == 6


def test_a_plan_that_raises_while_it_is_closed_still_ends():
    def bad():
        try:
            yield from ask(levels([0.66]))
        finally:
            raise KeyError("while closing")

    with Engine(poisoned_classifier(raising)) as engine:
        with pytest.raises(ClassifierFaultError) as caught:
            engine.submit(bad()).result(30)
        assert all(engine.submit(counting_plan(0, 2)).result(30))
    assert "closing it raised KeyError: 'while closing'" in caught.value.__notes__


def test_a_question_that_cannot_be_held_ends_its_plan():
    class Endless(Pixels):
        def __len__(self):
            return 1 << 50

    def greedy():
        yield from ask(Endless(IMAGE.unsqueeze(0)))

    with Engine(echo_classifier()) as engine:
        assert engine.submit(greedy()).future.exception(30) is not None


def test_a_plan_of_a_failed_model_is_closed_on_a_stepping_thread():
    closers = []

    def bad():
        try:
            yield from ask(levels([0.66]))
        finally:
            closers.append(threading.current_thread().name)

    with Engine(poisoned_classifier(raising)) as engine:
        engine.submit(bad()).future.exception(30)
    assert [name.split("_")[0] for name in closers] == ["xaiserve-step"]
