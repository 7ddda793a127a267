"""Gradient methods that end in a plan: the engine answers it like any other."""

import threading
from concurrent.futures import CancelledError

import pytest

from xaiserve.errors import QueryBudgetError
from xaiserve.perturb._feeding import NAME
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.lanes import LocalLane
from xaiserve.perturb.plan import Progress, Spent
from xaiserve.perturb.ticket import Limits
from xaiserve.testing.plans import counting_plan, echo_classifier, stoppable_plan


def then(plan, rows=2):
    """Spend ``rows`` in one step and end in ``plan``."""
    yield Spent(rows=rows)
    return plan


def test_what_is_left_is_answered_as_a_plan_on_the_same_ticket():
    classifier = echo_classifier()
    with Engine(classifier) as engine:
        ticket = engine.submit_steps(then(counting_plan(0, rounds=3)))
        assert ticket.result() == [True, True, True]
        assert ticket.cost.model_inputs == 2 + 3 * 5
    assert classifier.rows == 3 * 5
    assert engine.in_flight == 0


def test_beside_several_lanes_a_thread_steps_gradient_methods_while_there_are_any():
    """One after the other, and more threads than lanes and one never."""

    def feeders():
        return sum(thread.name == NAME for thread in threading.enumerate())

    def steps(number):
        yield Spent(rows=1)
        return number, feeders()

    lanes = [LocalLane(echo_classifier(), 4), LocalLane(echo_classifier(), 4)]
    others = feeders()
    with Engine(echo_classifier(), lanes=lanes) as engine:
        assert feeders() == others + 2
        for number in range(20):
            assert engine.submit_steps(steps(number)).result(60) == (number, others + 3)
    assert feeders() == others


def test_events_of_both_parts_are_told_in_order():
    def plan():
        yield Progress("second", 1)
        return "done"

    def steps():
        yield Progress("first", 1)
        return plan()

    events = []
    with Engine(echo_classifier()) as engine:
        assert engine.submit_steps(steps(), on_event=events.append).result() == "done"
    assert [event.phase for event in events] == ["first", "second"]


def test_the_budget_covers_both_parts_and_the_plan_keeps_what_it_has():
    with Engine(echo_classifier()) as engine:
        ticket = engine.submit_steps(then(stoppable_plan(), rows=10), limits=Limits(max_inputs=40))
        assert ticket.result() == 2
        assert (ticket.cost.model_inputs, ticket.cost.stopped) == (30, "inputs")


def test_a_budget_spent_on_the_steps_leaves_nothing():
    with Engine(echo_classifier()) as engine:
        ticket = engine.submit_steps(
            then(counting_plan(0, 3), rows=38), limits=Limits(max_inputs=40)
        )
        with pytest.raises(QueryBudgetError, match="max_inputs = 40"):
            ticket.result()


def test_a_fault_in_the_plan_names_the_method():
    def faulty():
        raise ArithmeticError("no such thing")
        yield

    with Engine(echo_classifier()) as engine:
        ticket = engine.submit_steps(then(faulty()), about="sag on image 7")
        with pytest.raises(ArithmeticError) as raised:
            ticket.result()
    assert any("sag on image 7" in note for note in raised.value.__notes__)


def test_a_method_cancelled_as_it_turns_into_a_plan_never_asks():
    closing = []

    def steps():
        yield Progress("first", 1)
        closing[0].cancel()
        return counting_plan(0, rounds=10**6)

    with Engine(echo_classifier()) as engine:
        closing.append(engine.submit_steps(steps()))
        with pytest.raises(CancelledError):
            closing[0].result()
