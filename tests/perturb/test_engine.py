"""The engine: what plans get back, in company, over budget and cancelled."""

import threading
from concurrent.futures import CancelledError

import pytest
import torch

from xaiserve.errors import QueryBudgetError
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import Spent, ask
from xaiserve.perturb.query import join
from xaiserve.perturb.ticket import Limits
from xaiserve.testing import toys
from xaiserve.testing.plans import IMAGE, counting_plan, echo_classifier, levels, stoppable_plan


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
        while not engine._desk.questions.interactive:
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
        while len(engine._desk.questions.interactive) < 2 and classifier.calls == 0:
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
    assert not limits.affords(90, 6, verifying=0)
    assert limits.affords(90, 6, verifying=6)
    assert not limits.affords(99, 2, verifying=2)


def test_rows_that_verify_may_use_the_reserve_beside_rows_that_search():
    limits = Limits(max_inputs=100)
    assert limits.affords(90, 10, verifying=5)
    assert not limits.affords(90, 10, verifying=4)
    assert not limits.affords(90, 11, verifying=6)


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
