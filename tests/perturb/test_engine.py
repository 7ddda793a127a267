"""The engine: what plans get back, in company, over budget, cancelled, and when the model fails."""

import threading
from concurrent.futures import CancelledError

import pytest
import torch

from xaiserve.errors import ClassifierFaultError, QueryBudgetError
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Progress, Spent, Stop, ask
from xaiserve.perturb.query import Pixels, join
from xaiserve.perturb.ticket import Limits
from xaiserve.testing import toys

IMAGE = toys.toy_image(8)


def levels(values, *, alone=False):
    """Pictures of one brightness each."""
    return Pixels(torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone(), alone=alone)


def echo_classifier(**options):
    """Scores say the brightness of the picture, so that a mix-up of rows shows."""

    def function(images):
        own = images.mean(dim=(1, 2, 3))
        return torch.stack([1 - own, own], dim=1)

    return toys.ToyClassifier("echo", toys.toy_spec(IMAGE), function, **options)


def counting_plan(start, rounds, rows=5):
    """Ask ``rounds`` questions whose answers are known; return what came back."""
    got = []
    for turn in range(rounds):
        values = [(start + turn * rows + i) % 97 / 100 for i in range(rows)]
        scores = yield from ask(levels(values))
        got.append(torch.allclose(scores[:, 1], torch.tensor(values), atol=1e-6))
    return got


def test_each_plan_gets_its_own_rows_in_order():
    with Engine(echo_classifier(), batch_rows=7) as engine:
        tickets = [engine.submit(counting_plan(i * 13, 6, rows=1 + i)) for i in range(9)]
        assert all(all(ticket.result(30)) for ticket in tickets)


def test_rows_of_several_plans_share_batches():
    classifier = echo_classifier()
    gate = threading.Event()
    slow = toys.ToyClassifier(
        "gated", classifier.spec, lambda images: (gate.wait(10), classifier.scores(images))[1]
    )
    with Engine(slow, batch_rows=64) as engine:
        tickets = [engine.submit(counting_plan(i, 1)) for i in range(12)]
        while engine.in_flight and slow.calls == 0:
            pass
        gate.set()
        for ticket in tickets:
            ticket.result(30)
    assert slow.rows == 60
    assert slow.calls <= 4


def test_an_alone_row_is_scored_in_a_batch_of_one():
    sizes = []
    spec = toys.toy_spec(IMAGE)
    classifier = toys.ToyClassifier(
        "sizes",
        spec,
        lambda images: (sizes.append(len(images)), torch.full((len(images), 2), 0.5))[1],
    )

    def plan():
        yield from ask(join([levels([0.1, 0.2]), levels([0.3, 0.4, 0.5], alone=True)]))

    with Engine(classifier, batch_rows=8) as engine:
        engine.submit(plan()).result(30)
    assert sizes == [2, 1, 1, 1]


def test_an_empty_question_is_answered_without_the_model():
    classifier = echo_classifier()

    def plan():
        return (yield from ask(levels([]).__getitem__(slice(0, 0)))).shape

    with Engine(classifier) as engine:
        assert engine.submit(plan()).result(30) == (0, 2)
    assert classifier.rows == 0


def test_the_cost_counts_rows_and_batches():
    with Engine(echo_classifier(), batch_rows=4) as engine:
        ticket = engine.submit(counting_plan(0, 2, rows=6))
        ticket.result(30)
    cost = ticket.cost
    assert (cost.model_inputs, cost.batches, cost.stopped) == (12, 4, None)
    assert 0 < cost.device_seconds <= cost.wall_seconds


def test_interactive_rows_go_before_bulk_rows_that_came_first():
    order = []
    gate = threading.Event()

    def function(images):
        gate.wait(10)
        order.extend(round(float(value), 2) for value in images[:, 0, 0, 0])
        return torch.full((len(images), 2), 0.5)

    classifier = toys.ToyClassifier("order", toys.toy_spec(IMAGE), function)

    def plan(value, rows):
        yield from ask(levels([value] * rows))

    with Engine(classifier, batch_rows=4) as engine:
        bulk = engine.submit(plan(0.1, 12))
        while classifier.calls == 0:
            pass
        urgent = engine.submit(plan(0.9, 4), interactive=True)
        while not engine._questions.interactive:
            pass
        gate.set()
        urgent.result(30)
        bulk.result(30)
    assert order[:8] == [0.1] * 4 + [0.9] * 4


def test_two_interactive_plans_take_turns():
    order = []
    gate = threading.Event()

    def function(images):
        gate.wait(10)
        order.append(round(float(images[0, 0, 0, 0]), 2))
        return torch.full((len(images), 2), 0.5)

    classifier = toys.ToyClassifier("turns", toys.toy_spec(IMAGE), function)

    def plan(value):
        yield from ask(levels([value] * 12))

    with Engine(classifier, batch_rows=4) as engine:
        tickets = [engine.submit(plan(value), interactive=True) for value in (0.2, 0.8)]
        while len(engine._questions.interactive) < 2 and classifier.calls == 0:
            pass
        gate.set()
        for ticket in tickets:
            ticket.result(30)
    assert sorted(order[1:5]) == [0.2, 0.2, 0.8, 0.8]


def test_plans_wait_until_their_bytes_fit():
    started = []
    gate = threading.Event()

    def plan(index):
        started.append(index)
        gate.wait(10)
        yield from ask(levels([0.5]))

    with Engine(echo_classifier(), admit_bytes=100) as engine:
        tickets = [engine.submit(plan(i), bytes_in_flight=60) for i in range(3)]
        while not started:
            pass
        assert started == [0]
        gate.set()
        for ticket in tickets:
            ticket.result(30)
    assert started == [0, 1, 2]


def stoppable_plan():
    """Return how many rounds were answered, also when stopped."""
    rounds = 0
    try:
        while True:
            yield from ask(levels([0.5] * 10))
            rounds += 1
    except Stop:
        return rounds


def test_a_spent_budget_ends_the_plan_with_what_it_has():
    with Engine(echo_classifier()) as engine:
        ticket = engine.submit(stoppable_plan(), limits=Limits(max_inputs=35))
        assert ticket.result(30) == 3
    assert ticket.cost.stopped == "inputs"
    assert ticket.cost.model_inputs == 30


def test_a_plan_with_nothing_partial_ends_in_a_budget_error():
    with Engine(echo_classifier()) as engine:
        ticket = engine.submit(counting_plan(0, 9), limits=Limits(max_inputs=12), about="plan x")
        with pytest.raises(QueryBudgetError, match=r"plan x spent its budget \(max_inputs = 12\)"):
            ticket.result(30)


def test_verification_may_use_the_reserve_and_a_search_may_not():
    limits = Limits(max_inputs=100)
    assert not limits.affords(90, 6, verifying=False)
    assert limits.affords(90, 6, verifying=True)
    assert not limits.affords(99, 2, verifying=True)


def test_a_deadline_ends_the_plan_with_what_it_has():
    with Engine(echo_classifier()) as engine:
        ticket = engine.submit(stoppable_plan(), limits=Limits(max_seconds=0.05))
        assert ticket.result(30) > 0
    assert ticket.cost.stopped == "seconds"


def test_a_cancelled_plan_ends_and_the_others_go_on():
    with Engine(echo_classifier()) as engine:
        endless = engine.submit(stoppable_plan())
        endless.cancel()
        assert isinstance(endless.future.exception(30), CancelledError | None)
        assert all(engine.submit(counting_plan(0, 3)).result(30))
        assert engine.in_flight == 0


def test_closing_the_engine_ends_what_is_in_flight():
    engine = Engine(echo_classifier())
    tickets = [engine.submit(stoppable_plan()) for _ in range(3)]
    engine.close()
    assert all(ticket.future.done() for ticket in tickets)
    with pytest.raises(RuntimeError, match="closed"):
        engine.submit(stoppable_plan())


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
    assert "occlusion on image x, round 2" in caught.value.__notes__


class ShortClassifier(toys.ToyClassifier):
    """Loses the last row of every batch."""

    def score_inputs(self, inputs):
        return super().score_inputs(inputs)[:-1]


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


def test_closing_cancels_a_gradient_method_in_the_middle_of_a_step():
    inside, go_on = threading.Event(), threading.Event()
    done = []

    def steps():
        for number in range(100):
            inside.set()
            go_on.wait(10)
            done.append(number)
            yield Spent(1)

    engine = Engine(echo_classifier())
    ticket = engine.submit_steps(steps())
    inside.wait(10)
    closer = threading.Thread(target=engine.close)
    closer.start()
    while not ticket.must_stop():
        pass
    go_on.set()
    closer.join(10)
    assert isinstance(ticket.future.exception(0), CancelledError)
    assert done == [0]


def test_interactive_gradient_methods_go_first_and_the_others_in_order():
    order = []
    gate = threading.Event()

    def steps(name):
        gate.wait(10)
        for _ in range(2):
            order.append(name)
            yield Spent(1)

    with Engine(echo_classifier()) as engine:
        first = engine.submit_steps(steps("first"))
        tickets = [engine.submit_steps(steps("second"))]
        tickets += [engine.submit_steps(steps(name), interactive=True) for name in "ab"]
        gate.set()
        for ticket in [first, *tickets]:
            ticket.result(30)
    assert [name for name in order if name in "ab"] == ["a", "b", "a", "b"]
    assert order[-1] == "second"
    assert order.index("second") > max(i for i, name in enumerate(order) if name in "ab")


def blocking_plan(started, name, gate):
    started.append(name)
    gate.wait(10)
    yield from ask(levels([0.5]))


def test_interactive_plans_do_not_wait_for_the_bytes_of_bulk_plans():
    started, gate = [], threading.Event()
    with Engine(echo_classifier(), admit_bytes=100) as engine:
        bulk = [
            engine.submit(blocking_plan(started, i, gate), bytes_in_flight=60) for i in range(3)
        ]
        urgent = engine.submit(counting_plan(0, 2), interactive=True, bytes_in_flight=60)
        assert all(urgent.result(30))
        assert started == [0]
        gate.set()
        for ticket in bulk:
            ticket.result(30)


def test_interactive_plans_are_admitted_in_the_order_they_came():
    started, gate = [], threading.Event()
    with Engine(echo_classifier(), admit_bytes=1) as engine:
        tickets = [
            engine.submit(blocking_plan(started, i, gate), interactive=True) for i in range(4)
        ]
        gate.set()
        for ticket in tickets:
            ticket.result(30)
    assert started == [0, 1, 2, 3]


def test_a_cancelled_plan_that_waits_for_admission_ends_without_waiting_for_the_others():
    with Engine(echo_classifier(), admit_bytes=1) as engine:
        endless = engine.submit(stoppable_plan())
        waiting = engine.submit(stoppable_plan())
        waiting.cancel()
        assert isinstance(waiting.future.exception(30), CancelledError)
        assert not endless.future.done()
        endless.cancel()


def test_the_model_keeps_the_threads_of_whoever_made_the_engine():
    threads = []

    def function(images):
        threads.append(torch.get_num_threads())
        return torch.full((len(images), 2), 0.5)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Engine(toys.ToyClassifier("threads", toys.toy_spec(IMAGE), function)) as engine:
            engine.submit(counting_plan(0, 1)).result(30)
    finally:
        torch.set_num_threads(before)
    assert threads == [2]
