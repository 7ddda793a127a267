"""Server-sent events of an explanation: lines in, values out. No connections."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from xaiserve.client.problems import broken, error_of
from xaiserve.client.results import (
    Explanation,
    Part,
    Progress,
    explanation_of,
    part_of,
    progress_of,
)
from xaiserve.errors import XaiServeError

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
        self._is_done = False

    def line(self, text: str) -> Event | None:
        """Take one line; an empty one ends an event.

        Raises
        ------
        XaiServeError
            The event is the problem that the explanation ended in, or cannot be read.
        """
        key, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if key == "event":
            self._name = value
        elif key == "data":
            self._data.append(value)
        return None if text else self._event()

    def end(self) -> None:
        """Take the end of the stream.

        Raises
        ------
        ServiceError
            The last event was not the explanation.
        """
        if not self._is_done:
            raise broken("the stream has ended without an explanation")

    def _event(self) -> Event | None:
        name, data = self._name, "\n".join(self._data)
        self._name, self._data = "", []
        if not data or (name != "problem" and name not in _READERS):
            return None
        try:
            event = _read(name, json.loads(data))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise broken(f"an event {name} holds {data!r:.100}") from error
        if isinstance(event, XaiServeError):
            raise event
        self._is_done = name == "final"
        return event


def _read(name: str, body: Any) -> Event | XaiServeError:  # Any: JSON
    if name == "problem":
        return error_of(int(body.get("status", 500)), {}, json.dumps(body).encode())
    return _READERS[name](body)
