"""The end of Serve on a Ray that goes on."""

import time
from contextlib import suppress
from typing import Any, Final

import ray
from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE
from ray.serve.context import _disconnect, _get_global_client

ENDING_S: Final = 60.0
"""How long requests in flight, and Serve's own processes after them, may take to end."""

_LOOK_S: Final = 0.1


def end_serve() -> None:
    """Take down what is served and Serve itself; nothing where nothing is served.

    What `serve.shutdown` does, but for its last question: it asks the controller to say when it has
    ended, which that cannot, and Ray prints that a task has failed.

    Raises
    ------
    TimeoutError
        Serve is there still.
    """
    client = _get_global_client(raise_if_no_controller_running=False)
    if client is None:
        return
    client.shutdown_cached_handles()  # type: ignore[no-untyped-call]
    until = time.monotonic() + ENDING_S
    controller = _controller()
    if controller is not None:
        with suppress(ray.exceptions.RayActorError):  # it has ended meanwhile
            ray.get(controller.graceful_shutdown.remote(wait=False), timeout=ENDING_S)
    del controller, client
    while _controller() is not None:
        if time.monotonic() > until:
            raise TimeoutError(f"Serve has not ended in {ENDING_S:g} s")
        time.sleep(_LOOK_S)
    _disconnect()  # type: ignore[no-untyped-call]


def _controller() -> Any:  # Any: Ray's actors are not typed
    try:
        return ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    except ValueError:
        return None
