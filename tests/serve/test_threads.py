import asyncio
import threading

import pytest

from xaiserve.serve.kept.threads import completed

LIMIT_S = 30


class Call:
    """One that takes until it may go on."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.ended = False

    def __call__(self) -> str:
        self.begun.set()
        self.go_on.wait(LIMIT_S)
        self.ended = True
        return "written"


async def cancelled_twice(task: "asyncio.Task[str]") -> None:
    for _ in range(2):
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)


async def test_a_cancelled_task_waits_for_its_call_and_undoes_it():
    call, undone = Call(), []
    task = asyncio.create_task(completed(call, undo=undone.append))
    await asyncio.to_thread(call.begun.wait, LIMIT_S)
    await cancelled_twice(task)
    assert not task.done()

    call.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert call.ended
    assert undone == ["written"]


async def test_a_task_that_cannot_undo_its_call_is_cancelled_all_the_same():
    call = Call()

    def undo(_: str) -> None:
        raise OSError("the store is ill")

    task = asyncio.create_task(completed(call, undo=undo))
    await asyncio.to_thread(call.begun.wait, LIMIT_S)
    await cancelled_twice(task)
    call.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_a_call_returns_or_raises_is_its_own():
    undone: list[str] = []
    assert await completed(lambda: "found", undo=undone.append) == "found"
    with pytest.raises(ZeroDivisionError):
        await completed(lambda: 1 / 0)
    assert not undone
