"""Remote lanes without Ray: workers in this process that lose things, fail and die on command."""

import pickle
import threading
from functools import partial

import pytest
import torch

from xaiserve.api import start
from xaiserve.dispatch.remote import RemoteLane, WorkerLostError
from xaiserve.dispatch.scorer import Answer, Card, Fault, Missing, Scorer, joined, split
from xaiserve.errors import ClassifierFaultError, ModelUnavailableError
from xaiserve.explainers.baselines.lime import Lime
from xaiserve.explainers.baselines.occlusion import Occlusion
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.lanes import LaneLostError
from xaiserve.perturb.plan import ask
from xaiserve.perturb.query import Boxes, Scene
from xaiserve.testing.plans import counting_plan, echo_classifier, levels
from xaiserve.testing.toys import ToyClassifier, brightness_classifier, toy_case, toy_image

LIMIT_S = 30


class NearWorker:
    """A worker in this process, reached through bytes; dies at the batches that it is told to."""

    def __init__(self, make, *, rows=8, deaths=(), kept_bytes=1 << 20):
        self._scorer = Scorer(make, kept_bytes=kept_bytes)
        self._scorer.load()
        self._scorer.prepare(rows)
        self._deaths = set(deaths)
        self._sent = 0
        self.outcomes = []
        self.dismissed = False

    def score(self, parcel):
        sent = pickle.dumps(parcel)
        number = self._sent
        self._sent += 1

        def wait():
            if self.dismissed or number in self._deaths:
                self.dismissed = True
                raise WorkerLostError("it died")
            outcome = self._scorer.score(pickle.loads(sent))  # noqa: S301 -- our own bytes
            self.outcomes.append(type(outcome))
            return outcome

        return wait

    def dismiss(self):
        self.dismissed = True


def never():
    raise ModelUnavailableError("nobody is to be hired")


def lanes_of(workers, hire=never, rows=8):
    return [RemoteLane(worker, hire, rows) for worker in workers]


def explained(classifier, explainer, lanes=()):
    image = toy_image(24)
    case = toy_case(classifier, image, name="toy")
    with Engine(classifier, lanes=lanes, batch_rows=8) as engine:
        found = start(engine, explainer, case, seed=3).result(LIMIT_S)
    for lane in lanes:
        lane.close()
    return found


def bright():
    return brightness_classifier(toy_image(24), 0.3)


@pytest.mark.parametrize("explainer", [Occlusion(), Lime()])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_any_number_of_workers_gives_what_one_process_gives(explainer, workers):
    here = explained(bright(), explainer)
    there = explained(bright(), explainer, lanes_of([NearWorker(bright) for _ in range(workers)]))
    assert torch.equal(here.saliency, there.saliency)


def test_a_worker_that_keeps_nothing_is_sent_everything_again():
    worker = NearWorker(echo_classifier, kept_bytes=0)
    lane = RemoteLane(worker, never, 8)
    scenes = [Scene(torch.full((3, 8, 8), level), torch.zeros(3, 8, 8)) for level in (0.25, 0.75)]
    whole = torch.tensor([[0, 8, 0, 8]]), torch.tensor([0]), 1
    for turn in (0, 1, 0, 1):
        scored = lane.begin([Boxes(scenes[turn], *whole)]).result(LIMIT_S)
        assert scored.scores[0, 1] == pytest.approx((0.25, 0.75)[turn])
    assert worker.outcomes == [Answer, Answer, Missing, Answer, Missing, Answer]
    lane.close()


def test_a_worker_that_dies_is_replaced_and_the_result_is_the_same():
    hired = []

    def hire():
        hired.append(NearWorker(bright))
        return hired[-1]

    there = explained(bright(), Occlusion(), lanes_of([NearWorker(bright, deaths=[2])], hire))
    assert torch.equal(explained(bright(), Occlusion()).saliency, there.saliency)
    assert len(hired) == 1


def test_the_others_do_the_work_of_a_worker_that_cannot_be_replaced():
    lanes = lanes_of([NearWorker(bright, deaths=[1]), NearWorker(bright)])
    there = explained(bright(), Occlusion(), lanes)
    assert torch.equal(explained(bright(), Occlusion()).saliency, there.saliency)


def test_when_nobody_is_left_the_error_names_method_and_image():
    with pytest.raises(
        ModelUnavailableError,
        match=r"occlusion on image toy, round 1: cannot go on .*: no worker is left: nobody",
    ):
        explained(bright(), Occlusion(), lanes_of([NearWorker(bright, deaths=[1])]))


def test_a_second_batch_that_is_lost_with_its_worker_hires_no_second_replacement():
    hired, both_sent = [], threading.Event()

    def hire():
        both_sent.wait(LIMIT_S)
        hired.append(NearWorker(echo_classifier))
        return hired[-1]

    lane = RemoteLane(NearWorker(echo_classifier, deaths=[0]), hire, 8)
    lost = [lane.begin([levels([0.1])]) for _ in range(2)]
    both_sent.set()
    backs = []
    for future in lost:
        with pytest.raises(LaneLostError) as caught:
            future.result(LIMIT_S)
        backs.append(caught.value.back)
    assert backs[0] is backs[1]
    backs[0].result(LIMIT_S)
    scored = lane.begin([levels([0.25])]).result(LIMIT_S)
    assert scored.scores[0, 1] == pytest.approx(0.25)
    assert len(hired) == 1
    lane.close()


def poisoned(fault):
    good = echo_classifier()

    def function(images):
        scores = good.scores(images)
        return fault(scores) if bool((images[:, 0, 0, 0] - 0.66).abs().lt(1e-3).any()) else scores

    return ToyClassifier("poisoned", good.spec, function)


def raising(_):
    raise ValueError("boom")


class ShortClassifier(ToyClassifier):
    """Loses the last row of every batch."""

    def score_inputs(self, inputs, *, exact=False):
        return super().score_inputs(inputs, exact=exact)[:-1]


def short():
    good = echo_classifier()
    return ShortClassifier("poisoned", good.spec, good.scores)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (partial(poisoned, raising), "model 'poisoned' raised ValueError: boom"),
        (partial(poisoned, lambda scores: scores * torch.nan), "answered NaN or infinity"),
        (partial(poisoned, lambda scores: scores[:, :1]), r"expected \(1, 2\)"),
        (short, r"answered \(\d, 2\), expected \(\d, 2\)"),
    ],
)
def test_a_fault_of_a_model_elsewhere_is_told_as_if_it_were_here(make, message):
    def bad():
        yield from ask(levels([0.2, 0.3]))
        yield from ask(levels([0.66]))

    lanes = lanes_of([NearWorker(make), NearWorker(make)])
    with Engine(make(), lanes=lanes) as engine:
        good = [engine.submit(counting_plan(0, 5)) for _ in range(3)]
        ticket = engine.submit(bad(), about="occlusion on image x")
        with pytest.raises(ClassifierFaultError, match=message) as caught:
            ticket.result(LIMIT_S)
        if make is not short:
            assert all(all(each.result(LIMIT_S)) for each in good)
    for lane in lanes:
        lane.close()
    assert str(caught.value).startswith("occlusion on image x, round ")


def test_a_worker_says_which_model_it_holds_and_what_batch_is_best():
    scorer = Scorer(partial(echo_classifier, batch_rows=5))
    card = scorer.load()
    assert isinstance(card, Card)
    assert (card.name, card.digest, card.classes) == ("echo", echo_classifier().digest, 2)
    assert scorer.prepare(None) == 5
    assert scorer.prepare(3) == 3


def test_a_worker_whose_model_cannot_be_loaded_says_why():
    def make():
        raise FileNotFoundError("no such folder")

    assert Scorer(make).load() == Fault("FileNotFoundError: no such folder")


@pytest.mark.parametrize("pieces", [1, 2, 3, 7])
@pytest.mark.parametrize(
    "outcome",
    [Answer(torch.arange(10.0).view(5, 2).numpy(), 0.5), Missing(frozenset({1})), Fault("boom")],
)
def test_an_outcome_in_pieces_is_put_together_again(outcome, pieces):
    parts = split(outcome, pieces)
    assert len(parts) == pieces
    found = joined(parts)
    if isinstance(outcome, Answer):
        assert found.seconds == outcome.seconds
        assert (found.scores == outcome.scores).all()
    else:
        assert found == outcome
