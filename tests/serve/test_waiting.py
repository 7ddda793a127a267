import asyncio

import pytest

from xaiserve.errors import CapacityError, ModelUnavailableError
from xaiserve.serve.replicas.admission import Places
from xaiserve.serve.service import within


def places(*, running: int = 1, waiting: int = 1) -> Places:
    return Places("searches", running=running, waiting=waiting, retry_after_s=2)


async def hold(where: Places, release: asyncio.Event) -> float:
    async with where.place() as waited:
        await release.wait()
        return waited


async def test_whoever_waits_gets_the_place_that_comes_free():
    where, release = places(), asyncio.Event()
    both = [asyncio.ensure_future(hold(where, release)) for _ in range(2)]
    await asyncio.sleep(0)
    release.set()

    first, second = await asyncio.gather(*both)
    assert first <= second


async def test_one_too_many_is_refused_with_the_time_to_come_back():
    where, release = places(), asyncio.Event()
    both = [asyncio.ensure_future(hold(where, release)) for _ in range(2)]
    await asyncio.sleep(0)

    with pytest.raises(CapacityError, match="1 are at work and 1 wait") as refusal:
        await hold(where, release)
    assert refusal.value.retry_after_s == 2

    release.set()
    await asyncio.gather(*both)


async def test_whoever_gives_up_waiting_leaves_the_places_whole():
    where, release = places(), asyncio.Event()
    holder = asyncio.ensure_future(hold(where, release))
    await asyncio.sleep(0)
    for _ in range(3):
        waiter = asyncio.ensure_future(hold(where, release))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
    release.set()
    await holder

    assert await hold(where, release) < 1


async def test_an_error_inside_frees_the_place():
    where = places(waiting=0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            async with where.place():
                raise ZeroDivisionError


async def test_a_replica_that_does_not_answer_is_unavailable():
    with pytest.raises(ModelUnavailableError, match=r"'toy' did not answer in 0\.01 s"):
        await within(0.01, asyncio.Event().wait(), "toy")
