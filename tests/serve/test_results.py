import asyncio
import json
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest

from tests.serve.conftest import BUDGET, UPLOADS, Toy, client_of
from tests.serve.test_classifier_server import Gate, serve
from tests.serve.test_stream import without_times
from xaiserve.errors import NotFoundError, StoreUnavailableError
from xaiserve.explainers.multirex import MultiRex
from xaiserve.perturb.ticket import Limits
from xaiserve.serve.incoming.requests import ClassifierPort, ExplainRequest, Upload
from xaiserve.serve.kept.accepted import Accepted, accepted_of
from xaiserve.serve.kept.explanations import Explanations
from xaiserve.serve.kept.idempotency import Replays
from xaiserve.serve.kept.result_store import ResultStore
from xaiserve.serve.kept.results import Results
from xaiserve.serve.replicas.classifier import ClassifierServer
from xaiserve.serve.service import Service
from xaiserve.storage.leases import LEASE_S
from xaiserve.storage.local import LocalStore
from xaiserve.storage.objects import ObjectStore, Stored

ASKED = {"model": "toy", "method": "occlusion", "cells": "3"}
LATER = {**ASKED, "async": "true"}
LIMIT_S = 30


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


def service_of(
    port: ClassifierPort,
    store: ObjectStore,
    *,
    others: Mapping[str, ClassifierPort] = MappingProxyType({}),
    **changes: object,
) -> Service:
    models = {"toy": port, **others}
    explanations = Explanations()
    wishes = {"running": 2, "waiting": 3, "keep_s": 60.0, "max_seconds": 100.0, **changes}
    results = Results(
        ResultStore(store, keep_s=60),
        explanations,
        models,
        look_s=0.01,
        renew_s=0.01,
        **wishes,
    )
    return Service(
        models=models,
        uploads=UPLOADS,
        budget=BUDGET,
        explanations=explanations,
        replays=Replays(store, keep_s=60),
        results=results,
    )


@asynccontextmanager
async def running(
    port: ClassifierPort, folder: Path, **changes: object
) -> AsyncIterator[httpx.AsyncClient]:
    service = service_of(port, LocalStore(folder), **changes)
    assert service.results is not None
    async with service.results.at_work(), client_of(service) as client:
        yield client


async def post(client: httpx.AsyncClient, png: bytes, **options: str) -> httpx.Response:
    return await client.post(
        "/v1/explain", params={**LATER, **options}, files={"image": ("a.png", png)}
    )


async def fetched(client: httpx.AsyncClient, url: str) -> httpx.Response:
    async with asyncio.timeout(LEASE_S / 2):  # whoever was stopped has left no claim behind
        # Only the service knows when it is ready.
        while (answer := await client.get(url)).status_code == 202:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return answer


async def test_an_answer_that_comes_later_is_the_one_that_comes_at_once(
    toy: Toy, server: ClassifierServer, tmp_path: Path
):
    async with running(server, tmp_path) as client:
        accepted = await post(client, toy.png)
        answer = await fetched(client, accepted.headers["location"])
        now = await post(client, toy.png, **{"async": "false"})

    assert accepted.status_code == 202
    assert accepted.json()["state"] in {"pending", "running"}
    assert answer.headers["content-type"] == "application/json"
    assert without_times(answer.json()) == without_times(now.json())


async def test_a_budget_that_nobody_may_wait_for_is_answered_later(
    toy: Toy, server: ClassifierServer, tmp_path: Path
):
    more = str(BUDGET.max_seconds + 1)
    async with running(server, tmp_path) as client:
        accepted = await post(client, toy.png, **{"async": "false", "max_seconds": more})
        too_much = await post(client, toy.png, max_seconds="101")

    assert accepted.status_code == 202
    assert too_much.status_code == 422


async def test_what_fails_is_told_as_it_would_have_been(server: ClassifierServer, tmp_path: Path):
    async with running(server, tmp_path) as client:
        accepted = await post(client, b"no picture")
        answer = await fetched(client, accepted.headers["location"])
        (listed,) = (await client.get("/v1/results")).json()["results"]

    assert answer.status_code == 415
    assert answer.headers["content-type"] == "application/problem+json"
    assert listed["state"] == "failed"


async def test_a_pending_result_tells_its_progress(tmp_path: Path):
    gate = Gate()
    server = serve(gate.classifier())
    async with running(server, tmp_path) as client:
        accepted = await post(client, gate.toy.png)
        url = accepted.headers["location"]
        await asyncio.to_thread(gate.asked.wait, 10)
        states = {(await client.get(url)).json()["state"] for _ in range(3)}
        gate.open.set()
        assert (await fetched(client, url)).status_code == 200
    server.close()

    assert states == {"running"}


async def test_pending_results_are_looked_for_again_after_any_failure(
    toy: Toy, server: ClassifierServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    class FailsOnce(LocalStore):
        failed = False

        def describe(self, prefix: str = "") -> Sequence[Stored]:
            if not self.failed:
                self.failed = True
                raise NotFoundError("bucket answers does not exist")
            return super().describe(prefix)

    service = service_of(server, FailsOnce(tmp_path))
    assert service.results is not None
    async with service.results.at_work(), client_of(service) as client:
        async with asyncio.timeout(5):
            while not caplog.records:  # noqa: ASYNC110 -- what fails is the look, not a request
                await asyncio.sleep(0.005)
        accepted = await post(client, toy.png)
        assert (await fetched(client, accepted.headers["location"])).status_code == 200
    assert "bucket answers does not exist" in caplog.text


async def test_what_others_leave_among_pending_results_is_no_result(
    toy: Toy, server: ClassifierServer, tmp_path: Path
):
    for name in ("000000000000", "f" * 32):
        folder = tmp_path / "pending" / name
        folder.mkdir(parents=True)
        (folder / ".nfs00000001").write_bytes(b"{}")
    async with running(server, tmp_path) as client:
        accepted = await post(client, toy.png)
        assert (await fetched(client, accepted.headers["location"])).status_code == 200


async def test_what_was_accepted_before_a_restart_is_answered_after_it(tmp_path: Path):
    gate = Gate()
    server = serve(gate.classifier())
    async with running(server, tmp_path, running=1) as client:
        accepted = [await post(client, gate.toy.png, seed=str(seed)) for seed in range(3)]
        await asyncio.to_thread(gate.asked.wait, 10)
    gate.open.set()
    urls = [answer.headers["location"] for answer in accepted]
    async with running(server, tmp_path) as client:
        answers = [await fetched(client, url) for url in urls]
    server.close()

    assert [answer.json()["seed"] for answer in answers] == [0, 1, 2]
    assert not LocalStore(tmp_path).list("pending/")
    ended = [key for key in LocalStore(tmp_path).list("results/") if "answer-" in key]
    assert len(ended) == 3


class Slow(LocalStore):
    """A store where one write of the first claim, counted from 1, takes until it may go on."""

    def __init__(self, root: Path, number: int) -> None:
        super().__init__(root)
        self.number = number
        self.writes = 0
        self.begun, self.go_on = threading.Event(), threading.Event()

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        if key.endswith("/000001"):
            self.writes += 1
            if self.writes == self.number:
                self.begun.set()
                self.go_on.wait(LIMIT_S)
        super().write(key, data, create_only=create_only)


@pytest.mark.parametrize("number", [1, 2])
async def test_a_worker_that_is_stopped_while_its_claim_is_written_leaves_none(
    tmp_path: Path, number: int
):
    gate = Gate()
    server = serve(gate.classifier())
    store = Slow(tmp_path, number)
    results = service_of(server, store).results
    assert results is not None
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(results.at_work())
        name = (await results.accept(request(gate.toy.png), "toy", "")).id
        await asyncio.to_thread(store.begun.wait, LIMIT_S)
        leaving = asyncio.create_task(stack.pop_all().aclose())
        early, _ = await asyncio.wait({leaving}, timeout=0.2)
        store.go_on.set()
        await leaving
    gate.open.set()
    server.close()

    assert not early
    assert store.list("pending/") == [f"pending/{name}/000000"]


async def test_results_are_listed_newest_first_page_by_page(
    toy: Toy, server: ClassifierServer, tmp_path: Path
):
    async with running(server, tmp_path, waiting=10) as client:
        names = [(await post(client, toy.png, seed=str(seed))).json()["id"] for seed in range(5)]
        first = (await client.get("/v1/results", params={"limit": 3})).json()
        second = (await client.get("/v1/results", params={"before": first["next"]})).json()

    told = [each["id"] for each in first["results"] + second["results"]]
    assert sorted(told) == sorted(names)
    assert len(first["results"]) == 3
    assert second["next"] is None
    assert [each["accepted"] for each in first["results"]] == sorted(
        (each["accepted"] for each in first["results"]), reverse=True
    )


async def test_a_removed_result_stops_and_is_gone(tmp_path: Path):
    gate = Gate()
    server = serve(gate.classifier())
    async with running(server, tmp_path) as client:
        url = (await post(client, gate.toy.png)).headers["location"]
        await asyncio.to_thread(gate.asked.wait, 10)
        removed = await client.delete(url)
        gone = await client.get(url)
        gate.open.set()
        async with asyncio.timeout(10):
            # The engine's threads change it: no event of this loop could tell.
            while (await server.card()).in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    server.close()

    assert (removed.status_code, gone.status_code) == (204, 404)
    assert not LocalStore(tmp_path).list()


@pytest.mark.parametrize("name", ["0" * 32, "nothing", "..%2f..%2fsecret"])
async def test_an_unknown_result_is_not_found(server: ClassifierServer, tmp_path: Path, name: str):
    async with running(server, tmp_path) as client:
        for ask in (client.get, client.delete):
            assert (await ask(f"/v1/results/{name}")).status_code == 404


async def test_too_many_pending_results_are_429(tmp_path: Path):
    gate = Gate()
    server = serve(gate.classifier())
    async with running(server, tmp_path, waiting=1) as client:
        first = await post(client, gate.toy.png)
        second = await post(client, gate.toy.png)
        gate.open.set()
        await fetched(client, first.headers["location"])
    server.close()

    assert (second.status_code, second.json()["type"].rpartition(":")[2]) == (429, "full")


async def test_events_and_later_exclude_each_other(
    toy: Toy, server: ClassifierServer, tmp_path: Path
):
    async with running(server, tmp_path) as client:
        assert (await post(client, toy.png, stream="true")).status_code == 422


def request(png: bytes = b"picture") -> ExplainRequest:
    return ExplainRequest(
        upload=Upload(data=png, name="a.png", value_range=(0.0, 9.0)),
        explainer=MultiRex(iterations=3, spotlights=2),
        target="light",
        seed=4,
        limits=Limits(max_inputs=9, max_seconds=2.5),
        frame="original",
        overlay=False,
        contrast=Upload(data=b"other"),
    )


def test_an_accepted_request_is_read_as_it_was_written():
    accepted = Accepted(id="a", owner="b", at=1.0, model="toy", request=request())
    assert accepted_of(json.loads(accepted.to_json()), accepted.pictures) == accepted


class Ill(LocalStore):
    ill = False

    def write(self, key: str, data: bytes, *, create_only: bool = False) -> None:
        if self.ill:
            raise StoreUnavailableError("the store is ill")
        super().write(key, data, create_only=create_only)


async def test_what_cannot_be_kept_is_not_accepted(
    toy: Toy, server: ClassifierServer, tmp_path: Path
):
    store = Ill(tmp_path)
    async with client_of(service_of(server, store)) as client:
        store.ill = True
        answer = await post(client, toy.png)

    assert (answer.status_code, answer.json()["detail"]) == (503, "the store is ill")
