"""``Idempotency-Key``: the same request twice is one request (IETF httpapi draft).

::

    keys/DIGEST/N.json    created once: what was asked for under the key, and how long it may take
    keys/DIGEST/N.answer  the answer

The same key with the same request gets the stored answer; with another, 422; while the first is
worked on, 409. Errors are not stored: after one the key is free again, as it is after a crash.
"""

import base64
import json
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Response

from xaiserve.errors import ArtifactNotFoundError, ConflictError, InvalidInputError
from xaiserve.serve.kept.threads import completed
from xaiserve.storage.objects import ObjectStore, read_if_there
from xaiserve.storage.results import digest_of

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"

_KEY: Final = re.compile(r'"?([\x21\x23-\x7e]{1,255})"?')
_KEPT_HEADERS: Final = ("content-type", "location", "retry-after")


@dataclass(frozen=True, slots=True)
class _Slot:
    """The place of one key, for the time being."""

    folder: str
    number: int

    @property
    def claim(self) -> str:
        return f"{self.folder}{self.number:06}.json"

    @property
    def answer(self) -> str:
        return f"{self.folder}{self.number:06}.answer"


class Replays:
    """Answers by key, in a store that all ingress replicas share.

    Parameters
    ----------
    keep_s
        How long an answer is kept.
    clock
        Seconds since 1970.
    """

    def __init__(
        self, store: ObjectStore, *, keep_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._keep_s = keep_s
        self._clock = clock

    async def once(
        self,
        key: str,
        asked: str,
        seconds: float,
        make: Callable[[], Awaitable[Response]],
    ) -> Response:
        """Answer a request, once for all requests with this key.

        Parameters
        ----------
        key
            The key, together with whose it is.
        asked
            Digest of the request.
        seconds
            How long the answer may take; a key whose holder has died is free again afterwards.

        Raises
        ------
        InvalidInputError
            The key was used for another request.
        ConflictError
            The first request with this key is still worked on.
        """
        slot = await completed(lambda: self._take(key, asked, seconds), undo=self._undo)
        if isinstance(slot, Response):
            return slot
        try:
            response = await make()
            if response.status_code < 400:  # noqa: PLR2004
                await completed(lambda: self._keep(slot, response))
                return response
        except BaseException:
            # Whoever hangs up leaves the key free, to ask again.
            await completed(lambda: self._free(slot))
            raise
        await completed(lambda: self._free(slot))
        return response

    def sweep(self) -> None:
        """Forget what was kept long enough."""
        oldest = self._clock() - self._keep_s
        for each in self._store.describe("keys/"):
            if each.modified < oldest:
                with suppress(ArtifactNotFoundError):  # others remove as well
                    self._store.remove(each.key)

    def _take(self, key: str, asked: str, seconds: float) -> _Slot | Response:
        folder = f"keys/{digest_of(key)}/"
        # Answers count, too: one may outlive its claim, and is not for whoever comes next.
        numbers = [_number(name) for name in self._store.list(folder)]
        number = max(numbers, default=0)
        if numbers and (found := self._found(_Slot(folder, number), asked)) is not None:
            return found
        slot = _Slot(folder, number + 1)
        now = self._clock()
        claim = {"asked": asked, "until": now + seconds, "kept_until": now + self._keep_s}
        try:
            self._store.write(slot.claim, json.dumps(claim).encode(), create_only=True)
        except ConflictError:
            raise _in_flight() from None
        return slot

    def _found(self, slot: _Slot, asked: str) -> Response | None:
        """Return the answer under a key; None when the key is free again."""
        data = read_if_there(self._store, slot.claim)
        claim: dict[str, Any] = {} if data is None else json.loads(data)  # Any: JSON
        if not claim or claim["kept_until"] < self._clock():
            return None
        if claim["asked"] != asked:
            raise InvalidInputError(f"{HEADER} was used for another request; take a new one")
        answer = read_if_there(self._store, slot.answer)
        if answer is not None:
            return _response(json.loads(answer))
        if claim["until"] < self._clock():
            return None
        raise _in_flight()

    def _keep(self, slot: _Slot, response: Response) -> None:
        headers = {
            name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers
        }
        body = base64.b64encode(bytes(response.body)).decode()
        document = {"status": response.status_code, "headers": headers, "body": body}
        self._store.write(slot.answer, json.dumps(document).encode())

    def _free(self, slot: _Slot) -> None:
        for name in (slot.answer, slot.claim):
            with suppress(ArtifactNotFoundError):
                self._store.remove(name)

    def _undo(self, taken: _Slot | Response) -> None:
        if isinstance(taken, _Slot):
            self._free(taken)


def _number(name: str) -> int:
    return int(name.rpartition("/")[2].partition(".")[0])


def key_of(text: str) -> str:
    """Read the header, with or without the quotes of a structured field.

    Raises
    ------
    InvalidInputError
        It is no key.
    """
    found = _KEY.fullmatch(text.strip())
    if found is None:
        raise InvalidInputError(f"{HEADER} must be 1 to 255 visible characters, got {text!r}")
    return found.group(1)


def _response(document: dict[str, Any]) -> Response:
    headers = {**document["headers"], REPLAYED: "true"}
    return Response(base64.b64decode(document["body"]), document["status"], headers)


def _in_flight() -> ConflictError:
    return ConflictError(
        f"the first request with this {HEADER} is still worked on; ask again later"
    )
