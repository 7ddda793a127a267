"""How many replicas a model gets: by the model inputs to come, not by open requests.

One explanation is ten model inputs or ten thousand, so that open requests say little. Serve asks
each replica (``record_autoscaling_stats``), averages, calls `PendingInputs` in its controller, and
applies bounds and delays to the answer. The controller imports this file: it must stay small.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

STAT: Final = "pending_inputs"
"""What replicas report."""


def wanted_replicas(
    pending: Mapping[Any, float], *, target: float, replicas: int, requests: float
) -> float:
    """Say how many replicas the work needs, before bounds and delays.

    Parameters
    ----------
    pending
        Model inputs to come, of each replica that reports.
    target
        Model inputs that may wait for one replica.
    replicas
        Those that run: some may not report yet, and are taken for as busy as the others.
    requests
        Open requests, at replicas and waiting for one; while there is one, a replica stays.
    """
    reported = len(pending)
    total = sum(pending.values())
    if reported and replicas > reported:
        total *= replicas / reported
    return max(math.ceil(total / target), 1 if requests > 0 else 0)


class PendingInputs:
    """The policy, as Serve makes and calls it.

    Parameters
    ----------
    target
        See `wanted_replicas`.
    """

    def __init__(self, target: float) -> None:
        self._target = target

    def __call__(self, context: Any) -> tuple[float, dict[str, Any]]:  # Any: Serve's own types
        wanted = wanted_replicas(
            (context.aggregated_metrics or {}).get(STAT, {}),
            target=self._target,
            replicas=context.current_num_replicas,
            requests=context.total_num_requests,
        )
        return wanted, {}
