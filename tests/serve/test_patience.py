"""Later results whose model is full or away: tried again, in turn, and in nobody else's place."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from tests.serve.conftest import Toy, client_of
from tests.serve.test_results import LIMIT_S, fetched, post, service_of
from xaiserve.errors import (
    CapacityError,
    ModelUnavailableError,
    NotFoundError,
    StoreUnavailableError,
)
from xaiserve.serve.bodies.told import Told
from xaiserve.serve.incoming.requests import ExplainRequest
from xaiserve.serve.kept.patience import retry_after
from xaiserve.serve.problem_details import UNAVAILABLE_RETRY_S
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.storage.local import LocalStore


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (CapacityError("full", retry_after_s=9), 9),
        (ModelUnavailableError("gone"), UNAVAILABLE_RETRY_S),
        (StoreUnavailableError("the store is ill"), UNAVAILABLE_RETRY_S),
        (NotFoundError("no such class"), None),
        (KeyError("a mistake of ours"), None),
    ],
)
def test_only_what_passes_is_asked_again(error: Exception, wait_s: float | None):
    assert retry_after(error) == wait_s


class Away:
    """A model whose replicas are away until it is told otherwise."""

    def __init__(self, server: ClassifierServer, error: Exception) -> None:
        self._server = server
        self._error = error
        self.here = False
        self.asked = 0
        self.card = server.card
        self.predict = server.predict
        self.score = server.score
        self.explain = server.explain

    async def stream(self, request: ExplainRequest) -> AsyncGenerator[Told, None]:
        self.asked += 1
        if not self.here:
            raise self._error
        async for each in self._server.stream(request):
            yield each


async def test_a_model_that_is_full_or_away_holds_up_nobody_elses_results(
    toy: Toy, server: ClassifierServer, tmp_path: Path
):
    away = Away(server, CapacityError("full", retry_after_s=0.02))
    service = service_of(server, LocalStore(tmp_path), running=1, waiting=9, others={"away": away})
    assert service.results is not None
    async with service.results.at_work(), client_of(service) as client:
        waiting = [
            (await post(client, toy.png, model="away")).headers["location"] for _ in range(3)
        ]
        async with asyncio.timeout(LIMIT_S):
            while away.asked < 9:  # noqa: ASYNC110 -- asked again and again, by nobody's request
                await asyncio.sleep(0.005)
        for _ in range(3):
            accepted = await post(client, toy.png)
            assert (await fetched(client, accepted.headers["location"])).status_code == 200
        states = {(await client.get(url)).json()["state"] for url in waiting}
        away.here = True
        answers = [(await fetched(client, url)).status_code for url in waiting]

    assert states <= {"pending", "running"}
    assert answers == [200, 200, 200]
    assert not list(LocalStore(tmp_path).list("pending/"))


class Gated(Away):
    """A model that answers once for each time that it is let."""

    def __init__(self, server: ClassifierServer) -> None:
        super().__init__(server, AssertionError())
        self.here = True
        self.gate = asyncio.Semaphore(0)

    async def stream(self, request: ExplainRequest) -> AsyncGenerator[Told, None]:
        await self.gate.acquire()
        async for each in super().stream(request):
            yield each


async def test_what_was_refused_has_its_turn_while_others_keep_coming(
    toy: Toy, server: ClassifierServer, tmp_path: Path
):
    busy = Gated(server)
    away = Away(server, CapacityError("full", retry_after_s=0.001))
    service = service_of(busy, LocalStore(tmp_path), running=1, waiting=9, others={"away": away})
    assert service.results is not None
    async with service.results.at_work(), client_of(service) as client:
        others = [(await post(client, toy.png)).headers["location"] for _ in range(3)]
        refused = (await post(client, toy.png, model="away")).headers["location"]
        for _ in range(12):
            others.append((await post(client, toy.png)).headers["location"])
            busy.gate.release()
            assert (await fetched(client, others.pop(0))).status_code == 200
            away.here = away.asked > 0
        answer = await client.get(refused)

    assert answer.status_code == 200
