import asyncio
import threading
from collections.abc import Awaitable

import pytest
import torch

from tests.serve.conftest import QUEUE, UPLOADS, Toy, make_toy
from xaiserve.errors import (
    CapacityError,
    ClassifierFaultError,
    ModelUnavailableError,
    QueryBudgetError,
)
from xaiserve.explainers.baselines.occlusion import Occlusion
from xaiserve.explainers.multirex import MultiRex
from xaiserve.perturb.ticket import Limits
from xaiserve.serve.config import Queue
from xaiserve.serve.incoming.requests import ExplainRequest, PredictRequest, Upload
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.replicas.searching import blamed
from xaiserve.testing.toys import ToyClassifier

LONG = MultiRex(iterations=200, spotlights=200, chunk=1)


class Gate:
    """A toy model that scores nothing while the gate is shut."""

    def __init__(self) -> None:
        self.toy = make_toy()
        self.open = threading.Event()
        self.asked = threading.Event()

    def classifier(self) -> ToyClassifier:
        def function(images: torch.Tensor) -> torch.Tensor:
            self.asked.set()
            self.open.wait(30)
            return self.toy.classifier.scores(images)

        return ToyClassifier("gated", self.toy.classifier.spec, function)


def serve(classifier: ToyClassifier, queue: Queue = QUEUE) -> ClassifierServer:
    return ClassifierServer(
        classifier, queue=queue, limits=UPLOADS.limits, draw=lambda *_, **__: b""
    )


def explain(png: bytes, **options: object) -> ExplainRequest:
    given = {"explainer": Occlusion(cells=2), "limits": Limits(max_seconds=20), **options}
    return ExplainRequest(upload=Upload(data=png), **given)


async def until_in_flight(server: ClassifierServer, plans: int) -> None:
    async with asyncio.timeout(10):
        # The engine's threads change it: no event of this loop could tell.
        while (await server.card()).in_flight != plans:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def started(gate: Gate, *answers: Awaitable[object]) -> list[asyncio.Task[object]]:
    tasks = [asyncio.ensure_future(answer) for answer in answers]
    await asyncio.to_thread(gate.asked.wait, 10)
    return tasks


async def test_what_exceeds_the_places_is_refused_at_once_and_told_when_to_come_back():
    gate = Gate()
    server = serve(gate.classifier())
    places = QUEUE.running + QUEUE.waiting
    tasks = await started(gate, *(server.explain(explain(gate.toy.png)) for _ in range(places)))

    with pytest.raises(CapacityError, match="2 are at work and 1 wait") as refusal:
        await server.explain(explain(gate.toy.png))
    assert refusal.value.retry_after_s == QUEUE.retry_after_s

    gate.open.set()
    bodies = await asyncio.gather(*tasks)
    assert all(body.complete for body in bodies)
    assert max(body.cost.waited_seconds for body in bodies) > 0
    server.close()


async def test_predicts_do_not_wait_behind_explanations(toy: Toy, server: ClassifierServer):
    tasks = [
        asyncio.ensure_future(server.explain(explain(toy.png, explainer=LONG))) for _ in range(3)
    ]
    body = await server.predict(PredictRequest(upload=Upload(data=toy.png)))

    assert body.decided[0].index == 1
    assert not all(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_predicts_that_wait_together_are_scored_in_one_batch():
    gate = Gate()
    model = gate.classifier()
    server = serve(model, QUEUE.model_copy(update={"predicts": 7}))
    request = PredictRequest(upload=Upload(data=gate.toy.png))
    first = await started(gate, server.predict(request))
    others = [asyncio.create_task(server.predict(request)) for _ in range(6)]
    async with asyncio.timeout(10):
        while server._engine.pending_inputs != 6:  # noqa: ASYNC110 -- the engine's threads ask
            await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(*first, *others)
    server.close()
    assert (model.rows, model.calls) == (7, 2)


async def test_waiting_longer_than_the_budget_is_a_refusal():
    gate = Gate()
    server = serve(gate.classifier())
    tasks = await started(gate, *(server.explain(explain(gate.toy.png)) for _ in range(2)))

    with pytest.raises(CapacityError, match=r"within 0\.05 s"):
        await server.explain(explain(gate.toy.png, limits=Limits(max_seconds=0.05)))

    gate.open.set()
    await asyncio.gather(*tasks)
    server.close()


async def test_a_cancelled_request_stops_its_plan_and_frees_its_place(
    toy: Toy, server: ClassifierServer
):
    for _ in range(QUEUE.running + QUEUE.waiting + 1):
        task = asyncio.ensure_future(server.explain(explain(toy.png, explainer=LONG)))
        await until_in_flight(server, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until_in_flight(server, 0)

    whole = await server.explain(explain(toy.png))
    assert whole.complete


async def test_requests_together_give_what_each_gives_alone(toy: Toy, server: ClassifierServer):
    small = MultiRex(iterations=1, spotlights=2, chunk=4)
    asked = [explain(toy.png, explainer=small, seed=seed) for seed in (0, 1)]
    together = await asyncio.gather(*map(server.explain, asked))
    alone = [await server.explain(request) for request in asked]

    for body, same in zip(together, alone, strict=True):
        assert body.explanations == same.explanations
        assert body.saliency == same.saliency


async def test_a_closed_server_says_that_it_is_shutting_down():
    gate = Gate()
    server = serve(gate.classifier())
    (task,) = await started(gate, server.predict(PredictRequest(upload=Upload(data=gate.toy.png))))
    closing = asyncio.ensure_future(asyncio.to_thread(server.close))
    gate.open.set()

    outcome = (await asyncio.gather(task, closing, return_exceptions=True))[0]
    assert isinstance(outcome, ModelUnavailableError) or outcome.decided


async def test_the_health_check_passes_for_a_model_that_scores(server: ClassifierServer):
    await server.check()


async def test_the_health_check_fails_for_a_model_that_does_not(toy: Toy):
    def broken(images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 2), torch.nan)

    server = serve(ToyClassifier("broken", toy.classifier.spec, broken))
    with pytest.raises(ClassifierFaultError, match="NaN"):
        await server.check()
    server.close()


@pytest.mark.parametrize(("waited_s", "kind"), [(3.0, CapacityError), (0.5, QueryBudgetError)])
def test_a_budget_that_the_queue_has_spent_is_blamed_on_the_queue(toy: Toy, waited_s, kind):
    request = explain(toy.png, limits=Limits(max_seconds=4))
    error = blamed(QueryBudgetError("spent"), request, waited_s, retry_after_s=5)
    assert type(error) is kind
