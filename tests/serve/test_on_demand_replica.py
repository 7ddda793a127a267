"""The replica of many models: real models behind the routes, one at a time in its budget."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.serve.conftest import BUDGET, QUEUE, UPLOADS, client_of
from tests.serve.test_running import picture, write_model
from xaiserve.serve.model_settings import ModelSettings, OnDemand
from xaiserve.serve.problem_details import Problem
from xaiserve.serve.problems import ProblemError
from xaiserve.serve.replicas import on_demand_replica
from xaiserve.serve.replicas.on_demand_replica import PER_MODEL, OnDemandReplica, model_bytes
from xaiserve.serve.service import Service
from xaiserve.serve.settings import Logs
from xaiserve.testing.meters import MemoryMeter


class Shared:
    """One model of the replica behind `ClassifierPort`, without Ray."""

    def __init__(self, replica: OnDemandReplica, name: str) -> None:
        self._replica, self._name = replica, name

    async def card(self) -> Any:
        return told(await self._replica.card(self._name))

    async def predict(self, request: Any) -> Any:
        return told(await self._replica.predict(request, self._name))

    async def score(self, request: Any) -> Any:
        return told(await self._replica.score(request, self._name))

    async def explain(self, request: Any) -> Any:
        return told(await self._replica.explain(request, self._name))

    async def stream(self, request: Any) -> AsyncGenerator[Any, None]:
        async with aclosing(self._replica.stream(request, self._name)) as answers:
            async for each in answers:
                yield told(each)


def told(answer: Any) -> Any:
    if isinstance(answer, Problem):
        raise ProblemError(answer)
    return answer


@pytest.fixture
def meter(monkeypatch: pytest.MonkeyPatch) -> MemoryMeter:
    made = MemoryMeter()
    monkeypatch.setattr(on_demand_replica, "RayMeter", lambda: made)
    monkeypatch.setattr(on_demand_replica, "configure_logs", lambda _: None)
    return made


@pytest.fixture
def replica(tmp_path: Path, meter: MemoryMeter) -> Iterator[OnDemandReplica]:
    """Room for one model of two, and a third that is damaged."""
    models = {name: {"source": str(write_model(tmp_path / name))} for name in ("one", "two")}
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.onnx").write_bytes(b"no model")
    models["broken"] = {"source": str(tmp_path / "broken")}
    settings = OnDemand.model_validate({"memory_bytes": PER_MODEL * 3 // 2, "models": models})
    made = OnDemandReplica(settings, queue=QUEUE, uploads=UPLOADS, logs=Logs())
    assert made._meter is meter
    yield made
    made._shelf.close()


@pytest_asyncio.fixture
async def client(replica: OnDemandReplica) -> AsyncIterator[httpx.AsyncClient]:
    names = ("one", "two", "broken")
    service = Service(
        models={name: Shared(replica, name) for name in names},
        uploads=UPLOADS,
        budget=BUDGET,
        may_sleep=frozenset(names),
    )
    async with client_of(service) as made:
        yield made


async def ask(client: httpx.AsyncClient, model: str, route: str = "predict") -> httpx.Response:
    query = f"model={model}" + "&method=occlusion&cells=4" * (route == "explain")
    return await client.post(f"/v1/{route}?{query}", files={"image": picture()})


async def test_models_take_turns_in_the_memory_and_answer_alike(
    client: httpx.AsyncClient, meter: MemoryMeter
):
    answers = [await ask(client, name) for name in ("one", "two", "one")]

    assert [answer.json()["decided"][0]["label"] for answer in answers] == ["light"] * 3
    assert meter.counts["xaiserve_model_loads", "one", "loaded"] == 2
    assert meter.counts["xaiserve_model_evictions", "two"] == 1


async def test_its_health_check_tells_the_numbers_again(
    client: httpx.AsyncClient, replica: OnDemandReplica, meter: MemoryMeter
):
    await ask(client, "one")
    told = dict(meter.values)
    meter.values.clear()

    await replica.check_health()

    assert meter.values["xaiserve_resident_bytes",] > PER_MODEL
    assert meter.values == told


async def test_first_requests_at_the_same_time_load_once(
    client: httpx.AsyncClient, meter: MemoryMeter
):
    answers = await asyncio.gather(ask(client, "one"), ask(client, "one", "explain"))

    assert [answer.status_code for answer in answers] == [200, 200]
    assert meter.counts["xaiserve_model_loads", "one", "loaded"] == 1


async def test_a_model_that_cannot_be_loaded_is_a_problem_of_its_own(client: httpx.AsyncClient):
    for route in ("predict", "explain"):
        answer = await ask(client, "broken", route)
        assert answer.status_code == 503
        assert "model 'broken' cannot be loaded" in answer.json()["detail"]
        assert "retry-after" in answer.headers
    assert (await ask(client, "two")).status_code == 200


async def test_asking_whether_all_is_ready_loads_nothing(
    client: httpx.AsyncClient, replica: OnDemandReplica
):
    assert (await client.get("/readyz")).status_code == 200
    assert replica._shelf.held == []


def test_memory_is_stated_or_estimated_from_the_files_that_are_loaded(tmp_path: Path):
    folder = write_model(tmp_path / "model")
    size = (folder / "model.onnx").stat().st_size

    assert model_bytes(ModelSettings(source=str(folder))) == PER_MODEL + 2 * size
    assert model_bytes(ModelSettings(source=str(folder), memory_bytes=7)) == 7
