"""Workers in real Ray actors: the same result on any number of them, killed or not."""

import os
import signal
from functools import partial

import pytest

from xaiserve.api import start
from xaiserve.dispatch.workers import Workers
from xaiserve.errors import ModelUnavailableError
from xaiserve.explainers.baselines.rise import Rise
from xaiserve.explainers.multirex import MultiRex
from xaiserve.models.loading import load_classifier
from xaiserve.perturb.engine import Engine
from xaiserve.perturb.ticket import Limits
from xaiserve.storage.records import to_table
from xaiserve.testing.plans import counting_plan, echo_classifier
from xaiserve.testing.toys import any_classifier, toy_case, toy_image

pytestmark = pytest.mark.ray

LIMIT_S = 120
IMAGE = toy_image(32)


make = partial(any_classifier, IMAGE, [(2, 10, 2, 10), (20, 28, 18, 26)])


def ticket_on(engine, explainer):
    case = toy_case(engine.classifier, IMAGE, name="toy")
    return start(engine, explainer, case, seed=5, limits=Limits(max_inputs=8000))


def explained(explainer, lanes=()):
    with Engine(make(), lanes=lanes, batch_rows=16) as engine:
        ticket = ticket_on(engine, explainer)
        return ticket.result(LIMIT_S), ticket.cost.model_inputs


def same(found, other):
    return to_table([found], type(found)).equals(to_table([other], type(other)))


@pytest.mark.usefixtures("cluster")
def test_one_two_and_four_workers_give_what_one_process_gives():
    explainer = MultiRex()
    here, inputs = explained(explainer)
    assert here.explanations
    for count in (1, 2, 4):
        with Workers(make, count, rows=16, digest=make().digest) as workers:
            there, spent = explained(explainer, workers.lanes)
        assert same(here, there)
        assert spent == inputs


@pytest.mark.usefixtures("cluster")
def test_a_worker_that_is_killed_in_the_middle_changes_nothing():
    explainer = Rise(samples=4000)
    with Workers(make, 2, rows=16) as workers, Engine(make(), lanes=workers.lanes) as engine:
        ticket = ticket_on(engine, explainer)
        while ticket.cost.model_inputs < 200 and not ticket.future.done():
            pass
        os.kill(workers.lanes[0].worker.card.process, signal.SIGKILL)
        there = ticket.result(LIMIT_S)
        assert ticket.cost.model_inputs == 4000
    here, _ = explained(explainer)
    assert same(here, there)


@pytest.mark.usefixtures("cluster")
def test_scores_of_many_classes_come_back_whole():
    many = partial(echo_classifier, classes=4000)
    with Workers(many, 1, rows=16) as workers, Engine(many(), lanes=workers.lanes) as engine:
        assert all(engine.submit(counting_plan(0, 3, rows=40)).result(LIMIT_S))


@pytest.mark.usefixtures("cluster")
def test_a_model_that_cannot_be_loaded_or_is_another_one_is_told():
    with pytest.raises(ModelUnavailableError, match="cannot load the model: NotFoundError"):
        Workers(partial(load_classifier, "no/such/folder"), 2)
    with pytest.raises(ModelUnavailableError, match="differs between processes"):
        Workers(make, 1, digest="0" * 64)


@pytest.mark.usefixtures("cluster")
def test_workers_that_do_not_fit_are_told_of_within_their_patience():
    with pytest.raises(ModelUnavailableError, match=r"0 of 1 do: each needs 64 CPUs .* and 4 and"):
        Workers(make, 1, threads=64, patience_s=2)


def test_the_number_of_workers_is_checked():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        Workers(make, 0)
