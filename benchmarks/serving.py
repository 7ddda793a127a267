"""A service for a benchmark: on a Ray of its own, on a free port, with generous limits."""

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from xaiserve.serve.config import make_config
from xaiserve.serve.running import RunningService, start_service


@contextmanager
def served(
    models: Mapping[str, Mapping[str, Any]],  # Any: as in YAML
    **settings: Any,  # Any: as in YAML
) -> Iterator[RunningService]:
    """Serve ``models``, settings as in YAML, until the end of the block; answers are not kept."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    budget = {"seconds": 500, "max_seconds": 500}
    given = {"models": dict(models), "port": port, "budget": budget, "answers": {"cache_bytes": 0}}
    service = start_service(make_config(given | settings))
    try:
        yield service
    finally:
        service.stop()
