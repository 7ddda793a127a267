"""What a job last said, and whether anybody is left who could say more."""

import json
from typing import Any, Final

from xaiserve.dispatch.owning import is_owned
from xaiserve.storage.objects import ObjectStore, read_if_there

PROGRESS: Final = "_progress.json"
"""Where a job writes how far it is."""

GOING: Final = frozenset({"running", "merging"})
"""States in which a job goes on, and looks whether it shall end."""

DEAD: Final = "dead"
"""Of a job that says that it goes on, and on which nobody works."""


def last_told(store: ObjectStore) -> dict[str, Any] | None:  # Any: JSON
    """Read what a job last said, with the state `DEAD` if that is so; None before it has begun."""
    told = _read(store)
    if told is None or told["state"] not in GOING or is_owned(store):
        return told
    told = _read(store)  # it may have ended between the two
    return told | {"state": DEAD} if told is not None and told["state"] in GOING else told


def _read(store: ObjectStore) -> dict[str, Any] | None:  # Any: JSON
    data = read_if_there(store, PROGRESS)
    return None if data is None else json.loads(data)
