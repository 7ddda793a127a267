import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
import torch

from tests.serve.conftest import BUDGET, UPLOADS, Toy, client_of
from tests.serve.test_classifier_server import Gate, serve
from tests.serve.test_explain import ask as search
from tests.serve.test_stream import EVENTS, events, without_times
from xaiserve.errors import StoreUnavailableError
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.serve.kept.explanations import Explanations
from xaiserve.serve.kept.result_cache import MARGIN, ResultCache
from xaiserve.serve.service import Service
from xaiserve.storage.local import LocalStore
from xaiserve.testing.toys import ToyClassifier

ASKED = {"model": "toy", "method": "occlusion", "cells": "3"}


async def ask(client: httpx.AsyncClient, png: bytes, **options: str):
    answer = await client.post(
        "/v1/explain", params={**ASKED, **options}, files={"image": ("a.png", png)}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


class Counting:
    """A toy model that counts the rows it scores, behind routes with a cache."""

    def __init__(self, toy: Toy, folder: Path, max_bytes: int = 1 << 20) -> None:
        self.rows = 0
        self.seconds_per_batch = 0.0

        def function(images: torch.Tensor) -> torch.Tensor:
            self.rows += len(images)
            time.sleep(self.seconds_per_batch)
            return toy.classifier.scores(images)

        self.server = serve(ToyClassifier("counting", toy.classifier.spec, function))
        cache = ResultCache(LocalStore(folder), max_bytes=max_bytes)
        self.service = Service(
            models={"toy": self.server},
            uploads=UPLOADS,
            budget=BUDGET,
            explanations=Explanations(cache),
        )
        self.client = client_of(self.service)

    async def close(self) -> None:
        await self.client.aclose()
        self.server.close()


@pytest_asyncio.fixture
async def counting(toy: Toy, tmp_path: Path) -> AsyncIterator[Counting]:
    made = Counting(toy, tmp_path)
    yield made
    await made.close()


async def test_a_repeat_costs_no_model_input_and_says_so(counting: Counting, toy: Toy):
    first = await ask(counting.client, toy.png)
    spent = counting.rows
    again = await ask(counting.client, toy.png)

    assert counting.rows == spent > 0
    assert (first["cached"], again["cached"]) == (False, True)
    assert without_times(again) == without_times(first) | {"cached": True}


async def test_a_restarted_service_still_has_the_answer(
    counting: Counting, toy: Toy, tmp_path: Path
):
    await ask(counting.client, toy.png)
    restarted = Counting(toy, tmp_path)
    again = await ask(restarted.client, toy.png)
    await restarted.close()

    assert (again["cached"], restarted.rows) == (True, 0)


async def test_a_stream_of_a_kept_answer_is_the_answer_alone(counting: Counting, toy: Toy):
    await ask(counting.client, toy.png)

    answer = await counting.client.post(
        "/v1/explain", params=ASKED, files={"image": toy.png}, headers=EVENTS
    )
    ((name, body),) = events(answer.text)
    assert (name, body["cached"]) == ("final", True)


@pytest.mark.parametrize(
    "other",
    [
        {"seed": "1"},
        {"target": "0"},
        {"cells": "2"},
        {"frame": "original"},
        {"saliency": "true"},
        {"overlay": "false"},
        {"range": "0,255"},
    ],
)
async def test_whatever_decides_the_answer_tells_requests_apart(
    counting: Counting, toy: Toy, other: dict[str, str]
):
    await ask(counting.client, toy.png)

    assert (await ask(counting.client, toy.png, **other))["cached"] is False


async def test_the_picture_counts_and_its_name_does_not(counting: Counting, toy: Toy):
    await ask(counting.client, toy.png)
    renamed = await counting.client.post(
        "/v1/explain", params=ASKED, files={"image": ("b.png", toy.png)}
    )
    other = await counting.client.post(
        "/v1/explain", params=ASKED, files={"image": ("a.png", toy.png + b"more")}
    )

    assert (renamed.json()["cached"], renamed.json()["name"]) == (True, "b.png")
    assert other.json()["cached"] is False


async def test_a_complete_answer_serves_any_budget(counting: Counting, toy: Toy):
    await ask(counting.client, toy.png)

    assert (await ask(counting.client, toy.png, max_inputs="10"))["cached"] is True


async def test_what_a_spent_budget_left_is_kept_for_that_budget_only(counting: Counting, toy: Toy):
    long = {"iterations": "20", "max_inputs": "700"}
    first = await search(counting.client, toy.png, **long)
    again = await search(counting.client, toy.png, **long)
    more = await search(counting.client, toy.png, **long | {"max_inputs": "701"})

    assert (first["complete"], again["complete"], again["cached"]) == (False, False, True)
    assert more["cached"] is False


async def test_what_time_has_stopped_is_not_kept(counting: Counting, toy: Toy):
    counting.seconds_per_batch = 0.01
    long = {"iterations": "1000", "spotlights": "100", "max_seconds": "0.5"}
    first = await search(counting.client, toy.png, **long)
    again = await search(counting.client, toy.png, **long)

    assert (first["stopped"], again["cached"]) == ("seconds", False)


async def test_that_a_method_has_no_answer_is_kept_as_well(counting: Counting, toy: Toy):
    await search(counting.client, toy.png, target="nothing")
    again = await search(counting.client, toy.png, target="nothing")

    assert (again["outcome"], again["cached"]) == ("none", True)


async def test_equal_requests_at_the_same_time_are_computed_once(tmp_path: Path):
    gate = Gate()
    gate.open.set()
    counting = Counting(gate.toy, tmp_path)
    alone = await ask(counting.client, gate.toy.png)
    spent = counting.rows
    bodies = await asyncio.gather(
        *(ask(counting.client, gate.toy.png, seed="5") for _ in range(4)),
    )
    await counting.close()

    assert counting.rows - spent < 2 * alone["cost"]["model_inputs"]
    assert all(body == bodies[0] for body in bodies)


async def test_whoever_leaves_a_shared_search_does_not_end_it(toy: Toy):
    gate = Gate()
    server = serve(gate.classifier())
    service = Service(models={"toy": server}, uploads=UPLOADS, budget=BUDGET)
    async with client_of(service) as client:
        both = [asyncio.ensure_future(ask(client, toy.png)) for _ in range(2)]
        await asyncio.to_thread(gate.asked.wait, 10)
        assert len(service.explanations._flights) == 1
        both[0].cancel()
        await asyncio.gather(both[0], return_exceptions=True)
        gate.open.set()
        assert (await both[1])["complete"]
    assert not service.explanations._flights
    server.close()


def body_of(text: str) -> ExplainBody:
    return ExplainBody.model_construct(outcome="explained", reason=text)


def test_the_oldest_answers_make_room_for_new_ones(tmp_path: Path):
    store = LocalStore(tmp_path)
    cache = ResultCache(store, max_bytes=8_000)
    body = ExplainBody.model_construct(outcome="none", reason="")
    size = len(gzip.compress(body.model_dump_json().encode(), compresslevel=3))
    many = 20_000 // size
    for index in range(many):
        cache.keep(f"{index:064}", body)
        held = sum(each.size for each in store.describe())
        assert held <= 8_000 + size
    assert held > 8_000 * (1 - 2 / MARGIN) - size
    assert store.list()[-1].startswith("cache/")


def test_an_answer_that_would_fill_the_cache_is_not_kept(tmp_path: Path):
    store = LocalStore(tmp_path)
    ResultCache(store, max_bytes=20).keep("ab", body_of("long"))
    assert not store.list()


class Broken(LocalStore):
    def read(self, key: str) -> bytes:
        raise StoreUnavailableError(f"{key} cannot be used")

    def write(self, key: str, *_: object, **__: object) -> None:
        raise StoreUnavailableError(f"{key} cannot be used")


async def test_a_broken_store_costs_a_search_and_no_request(
    toy: Toy, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    counting = Counting(toy, tmp_path)
    counting.service.explanations._cache = ResultCache(Broken(tmp_path), max_bytes=1 << 20)
    bodies = [await ask(counting.client, toy.png) for _ in range(2)]
    await counting.close()

    assert [body["cached"] for body in bodies] == [False, False]
    assert "cannot be used" in caplog.text


async def test_a_damaged_answer_is_found_again_by_searching(
    counting: Counting, toy: Toy, tmp_path: Path
):
    await ask(counting.client, toy.png)
    store = LocalStore(tmp_path)
    (kept,) = store.list("cache/")
    store.write(kept, b"no gzip")

    assert (await ask(counting.client, toy.png))["cached"] is False
    assert (await ask(counting.client, toy.png))["cached"] is True
