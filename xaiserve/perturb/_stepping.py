"""The threads on which plans compute, and how a generator is closed on them."""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch


def single_threaded(count: int) -> ThreadPoolExecutor:
    """Start threads on which torch computes alone; every other thread keeps its own number.

    ``torch.set_num_threads`` also sets what threads that have not computed yet will use. So these
    threads are started at once, and the number is put back before any other begins.
    """
    before = torch.get_num_threads()
    ready = threading.Barrier(count + 1)
    pool = ThreadPoolExecutor(count, "xaiserve-step", initializer=_compute_alone)
    for _ in range(count):
        pool.submit(ready.wait)
    ready.wait()
    torch.set_num_threads(before)
    return pool


def computing_alone(run: Callable[[], None], name: str) -> threading.Thread:
    """Start a daemon thread on which torch computes alone; see `single_threaded`."""
    before, ready = torch.get_num_threads(), threading.Event()

    def body() -> None:
        _compute_alone()
        ready.set()
        run()

    thread = threading.Thread(target=body, name=name, daemon=True)
    thread.start()
    ready.wait()
    torch.set_num_threads(before)
    return thread


def _compute_alone() -> None:
    # Read before it is set: a thread that has never read it takes the process's number at its
    # first operation, whatever was set for it.
    torch.get_num_threads()
    torch.set_num_threads(1)


def closed(work: Generator[Any, Any, Any], error: BaseException | None) -> BaseException | None:
    """Close a generator, which must not raise here: what it raises joins or becomes the error."""
    try:
        work.close()
    except BaseException as raised:  # noqa: BLE001 -- whatever it was belongs to the caller
        if error is None:
            return raised
        error.add_note(f"closing it raised {type(raised).__name__}: {raised}")
    return error
