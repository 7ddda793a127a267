import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xaiserve.errors import ClassifierFaultError
from xaiserve.models.spec import Rule
from xaiserve.perturb.drive import run
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.plan import (
    EPSILON,
    Done,
    Found,
    FromPlan,
    Goal,
    Progress,
    Stop,
    ask,
    decide,
    gather,
    step,
    stop,
)
from xaiserve.perturb.query import NOTHING, Joined, Mix, Pixels, Scene, leaves
from xaiserve.testing.toys import (
    ToyClassifier,
    constant_classifier,
    patch_classifier,
    toy_image,
    toy_spec,
)

IMAGE = toy_image(6)
SCENE = Scene(IMAGE, torch.zeros_like(IMAGE))
LABELS = torch.zeros(6, 6, dtype=torch.int64)
GOAL = Goal(Rule(), target=1)


def question(rows, *, alone=False):
    return Mix(SCENE, LABELS, torch.ones(rows, 1, dtype=torch.bool), alone)


def scores(*own):
    """Scores of two classes whose second is ``own``."""
    second = torch.tensor(own)
    return torch.stack([1 - second, second], dim=1)


def asking(*rows):
    """A plan that asks questions of these sizes and returns the sums of its answers."""
    sums = []
    for index, size in enumerate(rows):
        yield Progress("asking", index)
        answer = yield from ask(question(size))
        assert len(answer) == size
        sums.append(float(answer[:, 1].sum()))
    return sums


def searching():
    """A plan that asks for ever and returns how often it was answered when it must stop."""
    rounds = 0
    try:
        while True:
            yield from ask(question(1))
            rounds += 1
    except Stop as end:
        yield Found(end.kind)
        return rounds


def test_a_plan_is_stepped_from_question_to_result():
    plan = asking(2)
    assert isinstance(step(plan), Progress)
    assert len(step(plan)) == 2
    assert step(plan, scores(0.25, 0.5)) == Done([0.75])


def test_a_question_answered_with_nothing_is_an_error():
    plan = asking(1)
    step(plan)
    step(plan)
    with pytest.raises(RuntimeError, match="answered with nothing"):
        next(plan)


def counting_classifier():
    """Score row i of the whole session i / 1000, so that mixed-up answers show."""
    seen = []

    def function(images):
        first = len(seen)
        seen.extend(range(len(images)))
        return scores(*[(first + i) / 1000 for i in range(len(images))])

    return ToyClassifier("counting", toy_spec(IMAGE), function)


def test_run_answers_in_order_and_in_batches_that_fit():
    classifier = counting_classifier()
    assert run(asking(5, 3), classifier, max_rows=2) == pytest.approx([0.010, 0.018])
    assert classifier.rows == 8
    assert classifier.calls == 3 + 2


def test_run_scores_rows_alone_that_ask_for_it():
    classifier = counting_classifier()

    def plan():
        return (yield from ask(question(4, alone=True)))

    assert len(run(plan(), classifier)) == 4
    assert classifier.calls == 4


def test_run_answers_an_empty_question_without_the_model():
    classifier = constant_classifier(IMAGE)
    assert run(asking(0), classifier) == [0.0]
    assert classifier.calls == 0


def test_run_passes_events_on():
    events = []
    run(asking(1, 1), constant_classifier(IMAGE), on_event=events.append)
    assert [event.done for event in events] == [0, 1]


@pytest.mark.parametrize(
    ("answer", "message"),
    [(torch.zeros(3, 5), r"\(3, 5\), expected \(3, 2\)"), (torch.full((3, 2), torch.nan), "NaN")],
)
def test_run_refuses_an_answer_that_is_none_and_names_the_round(answer, message):
    classifier = ToyClassifier("broken", toy_spec(IMAGE), lambda _: answer)
    with pytest.raises(ClassifierFaultError, match=message) as caught:
        run(asking(3), classifier)
    assert caught.value.__notes__ == ["in round 1 of the plan"]


def test_run_closes_a_plan_whose_classifier_fails():
    closed = []

    def plan():
        try:
            yield from ask(question(1))
        finally:
            closed.append(True)

    def function(_):
        raise MemoryError

    with pytest.raises(MemoryError):
        run(plan(), ToyClassifier("broken", toy_spec(IMAGE), function))
    assert closed == [True]


sizes = st.lists(st.lists(st.integers(0, 4), max_size=4), max_size=5)


@settings(max_examples=40, deadline=None)
@given(plans=sizes)
def test_gathered_plans_return_what_they_return_alone(plans):
    classifier = constant_classifier(IMAGE)
    together = run(gather([asking(*rows) for rows in plans]), classifier)
    assert together == [run(asking(*rows), classifier) for rows in plans]


def test_gathered_plans_ask_once_per_round():
    plan = gather([asking(2, 1), asking(3)])
    turns = [step(plan)]
    while not leaves_of(turns[-1]):
        turns.append(step(plan))
    assert [len(leaf) for leaf in leaves_of(turns[-1])] == [2, 3]


def leaves_of(turn):
    return () if isinstance(turn, (FromPlan, Done)) else leaves(turn)


def test_gathered_plans_tell_which_one_an_event_is_from():
    events = []
    run(gather([asking(1), asking(1, 1)]), constant_classifier(IMAGE), on_event=events.append)
    assert [(event.index, event.event.done) for event in events] == [(0, 0), (1, 0), (1, 1)]


def test_gathering_within_gathering_keeps_both_indices():
    events = []
    inner = gather([asking(), asking(1)])
    run(gather([asking(), inner]), constant_classifier(IMAGE), on_event=events.append)
    (event,) = events
    assert (event.index, event.event.index) == (1, 1)


def test_a_gathered_plan_waits_for_another_and_asks_nothing_meanwhile():
    heard = []

    def first():
        heard.append((yield from asking(2, 1)))
        yield Progress("first", 1)
        heard.append("over")

    def second():
        while "over" not in heard:
            yield from ask(NOTHING)
        return (yield from asking(3))

    with Engine(constant_classifier(IMAGE)) as engine:
        ticket = engine.submit(gather([first(), second()]))
        assert ticket.result(60) == [None, run(asking(3), constant_classifier(IMAGE))]
    assert ticket.cost.model_inputs + ticket.cost.repeated_questions == 2 + 1 + 3


def test_gathering_nothing_asks_nothing():
    assert step(gather([])) == Done([])


def test_gathered_plans_are_closed_when_one_fails():
    closed = []

    def steady():
        try:
            yield from ask(question(1))
        finally:
            closed.append(True)

    def failing():
        yield from ask(question(1))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(gather([steady(), steady(), failing()]), constant_classifier(IMAGE))
    assert len(closed) == 2


def test_a_stopped_plan_tells_its_last_events_and_returns_what_it_has():
    plan = searching()
    step(plan)
    step(plan, scores(0.5))
    assert stop(plan, "seconds") == Done(1)


def test_a_stopped_plan_that_has_nothing_gives_stop_back():
    plan = asking(1)
    step(plan)
    with pytest.raises(Stop) as caught:
        stop(plan, "cancelled")
    assert caught.value.kind == "cancelled"


def test_a_plan_stopped_before_it_starts_gives_stop_back():
    with pytest.raises(Stop):
        stop(searching(), "inputs")


def test_a_stopped_plan_must_not_ask_again():
    closed = []

    def stubborn():
        try:
            while True:
                try:
                    yield from ask(question(1))
                except Stop:
                    continue
        finally:
            closed.append(True)

    plan = stubborn()
    step(plan)
    with pytest.raises(RuntimeError, match="asked again after Stop"):
        stop(plan, "inputs")
    assert closed == [True]


def test_stopped_gathered_plans_each_return_what_they_have_and_tell_their_last_events():
    plan, events = gather([searching(), asking(), searching()]), []
    while not isinstance(step(plan), Joined):
        pass
    step(plan, scores(0.5, 0.5))
    assert stop(plan, "inputs", events.append) == Done([1, [], 1])
    assert [(event.index, event.event.part) for event in events] == [(0, "inputs"), (2, "inputs")]


def test_gathered_plans_of_which_one_has_nothing_are_all_stopped_and_give_stop_back():
    events = []
    plan = gather([asking(1), searching()])
    while not isinstance(step(plan), Joined):
        pass
    with pytest.raises(Stop) as caught:
        stop(plan, "seconds", events.append)
    assert caught.value.kind == "seconds"
    assert [event.index for event in events] == [1]


def test_gathered_plans_can_be_stopped_while_one_of_them_tells_something():
    plan = gather([searching(), asking(1)])
    assert isinstance(step(plan), FromPlan)
    with pytest.raises(Stop):
        stop(plan, "cancelled")


def test_a_gathered_plan_that_asks_again_after_stop_is_an_error():
    def stubborn():
        try:
            yield from ask(question(1))
        except Stop:
            yield from ask(question(1))

    plan = gather([stubborn(), stubborn()])
    step(plan)
    with pytest.raises(RuntimeError, match="asked again after Stop"):
        stop(plan, "inputs")


def test_decide_judges_clear_rows_in_one_round():
    plan = decide(question(3), GOAL)
    step(plan)
    verdicts = step(plan, scores(0.9, 0.1, 0.6)).value
    assert verdicts.passes.tolist() == [True, False, True]
    assert verdicts.confidence.tolist() == pytest.approx([0.9, 0.1, 0.6])


def test_decide_asks_rows_near_the_decision_again_alone():
    plan = decide(question(4), GOAL)
    step(plan)
    near = 0.5 + EPSILON / 10
    first = scores(0.9, near, 0.1, near)
    before = first.clone()
    again = step(plan, first)
    assert [(len(leaf), leaf.alone) for leaf in leaves(again)] == [(1, True), (1, True)]
    verdicts = step(plan, scores(0.4, 0.7)).value
    assert verdicts.passes.tolist() == [True, False, False, True]
    assert verdicts.scores[:, 1].tolist() == pytest.approx([0.9, 0.4, 0.1, 0.7])
    assert torch.equal(first, before)


def test_decide_does_not_ask_again_what_was_asked_alone():
    plan = decide(question(2, alone=True), GOAL)
    step(plan)
    assert isinstance(step(plan, scores(0.5, 0.5)), Done)


def test_a_goal_with_a_floor_asks_for_confidence_too():
    goal = Goal(Rule(), target=1, floor=0.8)
    answers = scores(0.9, 0.7, 0.8 + EPSILON / 2, 0.2)
    assert goal.judge(answers).passes.tolist() == [True, False, True, False]
    assert goal.near(answers).tolist() == [False, False, True, False]


def test_a_goal_with_thresholds_asks_for_the_target_s_own():
    goal = Goal(Rule(thresholds=(0.9, 0.3)), target=1)
    answers = torch.tensor([[0.99, 0.31], [0.0, 0.29], [0.0, 0.3 + EPSILON / 2]])
    assert goal.judge(answers).passes.tolist() == [True, False, True]
    assert goal.near(answers).tolist() == [False, False, True]


def test_decisions_agree_with_the_classifier_s_own_rule():
    classifier = patch_classifier(IMAGE, (0, 3, 0, 3))

    def plan():
        keep = torch.tensor([[True], [False]])
        return (yield from decide(Mix(SCENE, LABELS, keep), GOAL))

    assert run(plan(), classifier).passes.tolist() == [True, False]


def test_pixels_are_decided_like_any_other_question():
    def plan():
        return (yield from decide(Pixels(torch.stack([IMAGE, IMAGE * 0])), GOAL))

    assert run(plan(), patch_classifier(IMAGE, (0, 3, 0, 3))).passes.tolist() == [True, False]
