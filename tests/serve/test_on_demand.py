"""Many models within one memory budget: what is loaded, what makes room, what never does."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from xaiserve.errors import CapacityError, InvalidInputError, ModelUnavailableError, NotFoundError
from xaiserve.serve.replicas.on_demand import Shelf
from xaiserve.testing.meters import MemoryMeter

SIZES = {"a": 40, "b": 40, "c": 40, "large": 100, "huge": 101}
BUDGET = 100


class Model:
    """A model that knows whether it was put away."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Library:
    """Loads models when a gate opens, or fails to."""

    def __init__(self) -> None:
        self.loaded: list[Model] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.broken: set[str] = set()
        self.meter = MemoryMeter()
        self.shelf: Shelf[Model] = Shelf(SIZES, BUDGET, self.load, self.meter)

    async def load(self, name: str) -> Model:
        await self.gate.wait()
        if name in self.broken:
            raise InvalidInputError("model.onnx is damaged")
        self.loaded.append(Model(name))
        return self.loaded[-1]

    async def ask(self, name: str) -> Model:
        async with self.shelf.use(name) as model:
            assert not model.closed
            await asyncio.sleep(0)
            assert not model.closed
            return model

    @property
    def bytes(self) -> float:
        return self.meter.values["xaiserve_resident_bytes",]


@pytest.fixture
async def library() -> Library:
    return Library()


async def test_a_model_is_loaded_once_and_stays(library: Library):
    first = await library.ask("a")
    assert await library.ask("a") is first
    assert library.bytes == 40


async def test_requests_that_come_together_load_once(library: Library):
    library.gate.clear()
    asked = [asyncio.ensure_future(library.ask("a")) for _ in range(5)]
    await asyncio.sleep(0)
    library.gate.set()

    assert len(set(await asyncio.gather(*asked))) == 1
    assert len(library.loaded) == 1


async def test_the_one_asked_for_longest_ago_makes_room(library: Library):
    a, b = await library.ask("a"), await library.ask("b")
    await library.ask("a")
    await library.ask("c")

    assert (a.closed, b.closed) == (False, True)
    assert library.shelf.held == ["a", "c"]
    assert library.meter.counts["xaiserve_model_evictions", "b"] == 1
    assert library.bytes <= BUDGET


async def test_a_model_at_work_is_never_put_away(library: Library):
    async with library.shelf.use("a") as a, library.shelf.use("b") as b:
        with pytest.raises(CapacityError, match="beside the models that are at work") as full:
            await library.ask("c")
        assert full.value.retry_after_s > 0
        with pytest.raises(CapacityError):
            await library.ask("large")
        assert not a.closed
        assert not b.closed
    assert (await library.ask("large")).name == "large"
    assert a.closed
    assert b.closed


async def test_none_is_put_away_when_that_would_not_be_enough(library: Library):
    a = await library.ask("a")
    async with library.shelf.use("b"):
        with pytest.raises(CapacityError):
            await library.ask("large")
    assert not a.closed


async def test_a_model_that_loads_is_not_put_away_and_its_room_is_taken(library: Library):
    library.gate.clear()
    loading = [asyncio.ensure_future(library.ask(name)) for name in ("a", "b")]
    await asyncio.sleep(0)
    with pytest.raises(CapacityError):
        await library.ask("c")
    library.gate.set()

    assert [model.name for model in await asyncio.gather(*loading)] == ["a", "b"]


async def test_a_broken_model_is_told_and_harms_no_other(library: Library):
    a = await library.ask("a")
    library.broken = {"b"}
    for _ in range(2):  # asked again, it is tried again
        with pytest.raises(
            ModelUnavailableError, match=r"'b' cannot be loaded: model\.onnx is dam"
        ):
            await library.ask("b")
    assert library.meter.counts["xaiserve_model_loads", "b", "failed"] == 2
    assert await library.ask("a") is a
    assert library.bytes == 40

    library.broken = set()
    assert (await library.ask("b")).name == "b"


async def test_whoever_hangs_up_does_not_end_the_loading_for_others(library: Library):
    library.gate.clear()
    leaver, stayer = (asyncio.ensure_future(library.ask("a")) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    library.gate.set()

    assert (await stayer).name == "a"
    assert len(library.loaded) == 1
    assert (await library.ask("large")).name == "large"  # neither of the two is at it any more


async def test_an_unknown_model_is_not_found(library: Library):
    with pytest.raises(NotFoundError, match="'x'"):
        await library.ask("x")


async def test_under_a_random_load_the_budget_holds_and_nobody_uses_a_closed_model(
    library: Library,
):
    async def client(number: int) -> int:
        served = 0
        for step in range(60):
            name = "abc"[(number * 7 + step * step) % 3]
            try:
                served += (await library.ask(name)).name == name
            except CapacityError:
                await asyncio.sleep(0)
            assert library.bytes <= BUDGET
        return served

    served = await asyncio.gather(*(client(number) for number in range(6)))
    assert min(served) > 0
    held = [model for model in library.loaded if not model.closed]
    assert sorted(model.name for model in held) == sorted(library.shelf.held)


async def test_closing_puts_all_away(library: Library):
    async with AsyncExitStack():
        models = [await library.ask(name) for name in ("a", "b")]
    library.shelf.close()
    assert all(model.closed for model in models)
    assert library.bytes == 0
