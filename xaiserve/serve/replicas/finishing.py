"""Waiting for a plan that an engine works on."""

import asyncio
from concurrent.futures import CancelledError
from typing import TypeVar

from xaiserve.errors import ModelUnavailableError
from xaiserve.perturb.ticket import Ticket

T = TypeVar("T")


async def finished(ticket: Ticket[T]) -> T:
    """Wait for a ticket without a thread; cancelling the wait cancels the plan.

    Raises
    ------
    ModelUnavailableError
        The engine was closed meanwhile.
    """
    # Not `asyncio.wrap_future`: its cancellation would reach into the future that the engine's
    # thread is about to resolve.
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    ticket.future.add_done_callback(lambda _: loop.call_soon_threadsafe(done.set))
    try:
        await done.wait()
        return ticket.result()
    except asyncio.CancelledError:
        ticket.cancel()
        raise
    except CancelledError:
        raise ModelUnavailableError("the replica is shutting down") from None
