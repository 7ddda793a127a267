"""The engine on several lanes: how batches spread, and what a lost lane costs."""

import threading
from collections import deque
from concurrent.futures import CancelledError, Future

import pytest
import torch

from xaiserve.errors import ClassifierFaultError, ModelUnavailableError
from xaiserve.perturb._batching import Question
from xaiserve.perturb._desk import Desk, Seat
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.lanes import LaneLostError, LocalLane, Scored
from xaiserve.perturb.plan import Spent, ask
from xaiserve.perturb.query import join
from xaiserve.perturb.ticket import Limits, Ticket
from xaiserve.testing.plans import (
    brightness,
    counting_plan,
    echo_classifier,
    levels,
    stoppable_plan,
)
from xaiserve.testing.toys import ToyClassifier

LIMIT_S = 30


class HandLane:
    """A lane whose batches are answered, or lost, when the test says so."""

    def __init__(self, rows=4, depth=1, classifier=None):
        self.rows = rows
        self.depth = depth
        self.classifier = classifier or echo_classifier()
        self.began = deque()
        self.sizes = []
        self._change = threading.Condition()

    def begin(self, leaves):
        future = Future()
        with self._change:
            self.began.append((leaves, future))
            self.sizes.append(sum(map(len, leaves)))
            self._change.notify_all()
        return future

    def wait_for(self, batches):
        with self._change:
            assert self._change.wait_for(lambda: len(self.began) >= batches, LIMIT_S)

    def next(self):
        self.wait_for(1)
        return self.began.popleft()

    def answer(self):
        leaves, future = self.next()
        scores = [self.classifier.scores(leaf.images) for leaf in leaves]
        future.set_result(Scored(torch.cat(scores), 0.5))

    def lose(self, back=None):
        _, future = self.next()
        future.set_exception(LaneLostError("it died", back or resolved()))


class QuickLane(HandLane):
    """Answers at once, except that it is lost as often as it is told to be."""

    def __init__(self, losses=(), **wishes):
        super().__init__(**wishes)
        self.losses = list(losses)
        self.brightness = set()

    def begin(self, leaves):
        future = super().begin(leaves)
        self.brightness |= {float(value) for leaf in leaves for value in leaf.images[:, 0, 0, 0]}
        if self.losses:
            self.lose(self.losses.pop())
        else:
            self.answer()
        return future


class GatedLane(QuickLane):
    """Answers at once when the gate is open, and keeps its first batch until then."""

    def __init__(self, **wishes):
        super().__init__(**wishes)
        self.gate = threading.Event()

    def begin(self, leaves):
        assert self.gate.wait(LIMIT_S)
        return super().begin(leaves)


def resolved(error=None):
    future = Future()
    if error:
        future.set_exception(error)
    else:
        future.set_result(None)
    return future


def asking(values, *, alone=False):
    return (yield from ask(levels(values, alone=alone)))


def values(rows):
    return [(row % 89) / 100 for row in range(rows)]


def test_one_question_spreads_over_lanes_and_comes_back_in_order():
    lanes = [HandLane(rows=4), HandLane(rows=4)]
    with Engine(echo_classifier(), lanes=lanes) as engine:
        ticket = engine.submit(asking(values(16)))
        for _ in range(2):
            for lane in lanes:
                lane.wait_for(1)
            # The second lane's rows come back first.
            for lane in reversed(lanes):
                lane.answer()
        assert brightness(ticket.result(LIMIT_S)) == values(16)
    assert [lane.sizes for lane in lanes] == [[4, 4], [4, 4]]
    assert ticket.cost.model_inputs == 16
    assert ticket.cost.batches == 4
    assert ticket.cost.device_seconds == pytest.approx(2.0)


def test_few_rows_are_shared_by_the_lanes_that_are_free():
    lanes = [HandLane(rows=64), HandLane(rows=64)]
    with Engine(echo_classifier(), lanes=lanes) as engine:
        ticket = engine.submit(asking(values(10)))
        for lane in lanes:
            lane.wait_for(1)
        for lane in lanes:
            lane.answer()
        ticket.result(LIMIT_S)
    assert [lane.sizes for lane in lanes] == [[5], [5]]


def test_the_last_rows_of_a_question_are_shared_by_cores_of_which_one_is_busy():
    began = []
    desk = Desk("toy", 2, admit_bytes=1, advance=lambda *given: began.append(given), fail=print)
    desk.seats += [Seat(HandLane(rows=4), alone=True) for _ in range(2)]
    desk.enter(asking([]), Ticket("a plan", Limits(), print, interactive=False), 0)
    desk.ask(Question(began[0][0], levels(values(7)), 2))
    with desk.change:
        taken = [sum(map(len, desk.take(seat))) for seat in desk.seats]
        desk.seats[0].under_way = 0
        taken.append(sum(map(len, desk.take(desk.seats[0]))))
    assert taken == [4, 2, 1]


def test_a_lane_takes_what_another_is_too_slow_for():
    slow, quick = HandLane(rows=4), GatedLane(rows=4)
    with Engine(echo_classifier(), lanes=[slow, quick]) as engine:
        ticket = engine.submit(asking(values(40)))
        slow.wait_for(1)
        quick.gate.set()
        while sum(quick.sizes) < 36:
            pass
        slow.answer()
        assert brightness(ticket.result(LIMIT_S)) == values(40)
    assert sum(slow.sizes) == 4


def test_a_lane_with_depth_gets_the_next_batch_before_the_first_is_back():
    lane = HandLane(rows=4, depth=2)
    with Engine(echo_classifier(), lanes=[lane]) as engine:
        ticket = engine.submit(asking(values(12)))
        lane.wait_for(2)
        assert lane.sizes == [4, 4]
        for _ in range(3):
            lane.answer()
        assert brightness(ticket.result(LIMIT_S)) == values(12)


def test_a_second_batch_goes_to_the_lane_that_has_none():
    lanes = [HandLane(rows=4, depth=2), HandLane(rows=4, depth=2)]
    with Engine(echo_classifier(), lanes=lanes) as engine:
        ticket = engine.submit(asking(values(8)))
        for lane in lanes:
            lane.wait_for(1)
        for lane in lanes:
            lane.answer()
        assert brightness(ticket.result(LIMIT_S)) == values(8)
    assert [lane.sizes for lane in lanes] == [[4], [4]]


def test_rows_of_a_lost_lane_are_scored_by_another_and_charged_once():
    lost, steady = HandLane(rows=4, depth=2), GatedLane(rows=4)
    never = Future()
    with Engine(echo_classifier(), lanes=[lost, steady]) as engine:
        ticket = engine.submit(asking(values(16)))
        lost.wait_for(1)
        lost.lose(never)
        steady.gate.set()
        assert brightness(ticket.result(LIMIT_S)) == values(16)
        assert ticket.cost.model_inputs == 16
    assert len(steady.brightness) == 16


def test_a_lane_that_comes_back_goes_on():
    lane = QuickLane(rows=4, losses=[resolved(), resolved()])
    with Engine(echo_classifier(), lanes=[lane]) as engine:
        ticket = engine.submit(asking(values(8)))
        assert brightness(ticket.result(LIMIT_S)) == values(8)
        assert ticket.cost.model_inputs == 8
    assert lane.sizes == [4, 4, 4, 4]


def test_a_lane_that_is_away_is_given_nothing_until_it_is_back():
    lane, back = HandLane(rows=4), Future()
    with Engine(echo_classifier(), lanes=[lane]) as engine:
        ticket = engine.submit(asking(values(4)))
        lane.lose(back)
        other = engine.submit(asking(values(2)))
        assert not lane.began
        back.set_result(None)
        lane.answer()
        lane.answer()
        assert brightness(ticket.result(LIMIT_S)) == values(4)
        assert brightness(other.result(LIMIT_S)) == values(2)


def test_without_any_lane_left_every_plan_ends_in_an_error_that_names_it():
    gone = ModelUnavailableError("the node is lost")
    lane = QuickLane(rows=4, losses=[resolved(gone)])
    with Engine(echo_classifier(), lanes=[lane]) as engine:
        tickets = [engine.submit(counting_plan(0, 2), about=f"plan {i}") for i in range(3)]
        tickets += [engine.submit(counting_plan(0, 2), about="plan 3")]
        for number, ticket in enumerate(tickets):
            with pytest.raises(
                ModelUnavailableError,
                match=f"plan {number}, round 1: cannot go on with model 'echo': no worker is left",
            ):
                ticket.result(LIMIT_S)


def test_rows_that_kill_every_worker_end_their_plan_and_not_the_others():
    class Deadly(QuickLane):
        def begin(self, leaves):
            images = torch.cat([leaf.images for leaf in leaves])
            if bool((images[:, 0, 0, 0] - 0.66).abs().lt(1e-3).any()):
                self.losses = [resolved()]
            return super().begin(leaves)

    lanes = [Deadly(rows=16), Deadly(rows=16)]
    with Engine(echo_classifier(), lanes=lanes) as engine:
        good = [engine.submit(counting_plan(i, 6)) for i in range(4)]
        bad = engine.submit(asking([0.2, 0.66]), about="rise on image x")
        with pytest.raises(
            ModelUnavailableError, match=r"rise on image x, round .*: 4 workers have died"
        ):
            bad.result(LIMIT_S)
        assert all(all(ticket.result(LIMIT_S)) for ticket in good)


def test_a_fault_on_a_lane_ends_only_the_plan_it_belongs_to():
    def failing(images):
        if bool((images[:, 0, 0, 0] - 0.66).abs().lt(1e-3).any()):
            raise ValueError("boom")
        return good.scores(images)

    good = echo_classifier()
    bad_model = ToyClassifier("echo", good.spec, failing)
    with Engine(bad_model, lanes=[LocalLane(bad_model, 8), LocalLane(bad_model, 8)]) as engine:
        others = [engine.submit(counting_plan(0, 5)) for _ in range(3)]
        ticket = engine.submit(asking([0.2, 0.66]), about="occlusion on image x")
        with pytest.raises(ClassifierFaultError, match="raised ValueError: boom") as caught:
            ticket.result(LIMIT_S)
        assert all(all(other.result(LIMIT_S)) for other in others)
    assert str(caught.value).startswith("occlusion on image x, round 1: ")


def test_a_lane_that_is_lost_over_a_failed_batch_gives_back_what_is_left_of_it():
    class Moody(QuickLane):
        def begin(self, leaves):
            if len(leaves) > 1:
                future = Future()
                future.set_exception(ValueError("company"))
                self.losses = [resolved()]
                return future
            return super().begin(leaves)

    def plan():
        first = yield from ask(join([levels([0.1, 0.2]), levels([0.3])]))
        return brightness(first)

    with Engine(echo_classifier(), lanes=[Moody(rows=8)]) as engine:
        ticket = engine.submit(plan())
        assert ticket.result(LIMIT_S) == [0.1, 0.2, 0.3]
        assert ticket.cost.model_inputs == 3


def test_a_cancelled_plan_ends_when_its_rows_are_back_and_the_rest_is_not_scored():
    lane = HandLane(rows=4)
    with Engine(echo_classifier(), lanes=[lane]) as engine:
        ticket = engine.submit(asking(values(40)))
        lane.wait_for(1)
        ticket.cancel()
        assert not ticket.future.done()
        lane.answer()
        assert isinstance(ticket.future.exception(LIMIT_S), CancelledError)
        assert lane.sizes == [4]
        assert ticket.cost.model_inputs == 4


def test_a_cancelled_plan_ends_while_every_lane_is_away():
    lane = QuickLane(rows=4, losses=[Future()])
    with Engine(echo_classifier(), lanes=[lane]) as engine:
        ticket = engine.submit(stoppable_plan())
        while not lane.sizes:
            pass
        ticket.cancel()
        assert isinstance(ticket.future.exception(LIMIT_S), CancelledError | None)


def test_an_engine_whose_lanes_are_away_can_be_closed():
    engine = Engine(echo_classifier(), lanes=[QuickLane(rows=4, losses=[Future()])])
    ticket = engine.submit(stoppable_plan())
    engine.close()
    assert ticket.future.done()


def test_rows_asked_alone_are_scored_one_by_one_on_any_lane():
    lanes = [QuickLane(rows=8, depth=2), QuickLane(rows=8, depth=2)]
    with Engine(echo_classifier(), lanes=lanes) as engine:
        ticket = engine.submit(asking(values(9), alone=True))
        assert brightness(ticket.result(LIMIT_S)) == values(9)
    assert lanes[0].sizes + lanes[1].sizes == [1] * 9


def test_gradient_methods_step_in_this_process_while_the_lanes_are_elsewhere():
    def steps():
        yield Spent(3)
        return "done"

    lane = HandLane(rows=4)
    with Engine(echo_classifier(), lanes=[lane]) as engine:
        plan = engine.submit(asking(values(4)))
        lane.wait_for(1)
        assert engine.submit_steps(steps()).result(LIMIT_S) == "done"
        lane.answer()
        plan.result(LIMIT_S)


@pytest.mark.parametrize("lanes", [1, 2, 4])
@pytest.mark.parametrize("depth", [1, 2])
def test_many_plans_get_their_own_rows_on_any_number_of_lanes(lanes, depth):
    model = echo_classifier()
    made = [LocalLane(model, 7, depth=depth) for _ in range(lanes)]
    with Engine(model, lanes=made) as engine:
        tickets = [engine.submit(counting_plan(i * 13, 6, rows=1 + i)) for i in range(9)]
        assert all(all(ticket.result(LIMIT_S)) for ticket in tickets)
    for lane in made:
        lane.close()
