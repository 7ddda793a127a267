"""Calls of a store on a thread which a cancelled task does not leave behind."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def completed(call: Callable[[], T], *, undo: Callable[[T], object] | None = None) -> T:
    """Call on a thread, and go on only when that has ended.

    A task that is cancelled meanwhile, however often, waits as well: what it does next is done
    after the call, and nothing is written behind its back.

    Parameters
    ----------
    undo
        Called on a thread with what ``call`` has returned to a task that was cancelled.
    """
    running = asyncio.ensure_future(asyncio.to_thread(call))
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait({running})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return running.result()
    if running.exception() is None and undo is not None:
        found = running.result()
        try:
            await completed(lambda: undo(found))
        except Exception as error:
            raise cancelled from error
    raise cancelled
