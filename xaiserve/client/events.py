"""Server-sent events of an explanation: lines in, values out. No connections."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from xaiserve.client.problems import error_of
from xaiserve.client.results import (
    Explanation,
    Part,
    Progress,
    explanation_of,
    part_of,
    progress_of,
)

Event = Progress | Part | Explanation

_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Event]]] = {
    "progress": progress_of,
    "explanation": part_of,
    "final": explanation_of,
}


class EventReader:
    """Puts lines together to events; events of other names are passed over."""

    def __init__(self) -> None:
        self._name = ""
        self._data: list[str] = []

    def line(self, text: str) -> Event | None:
        """Take one line; an empty one ends an event.

        Raises
        ------
        XaiServeError
            The event is the problem that the explanation ended in.
        """
        key, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            self._name = value
        elif key == "data":
            self._data.append(value)
        return None if text else self._event()

    def _event(self) -> Event | None:
        name, data = self._name, "\n".join(self._data)
        self._name, self._data = "", []
        if name == "problem":
            raise error_of(int(json.loads(data).get("status", 500)), {}, data.encode())
        if name not in _READERS or not data:
            return None
        return _READERS[name](json.loads(data))
