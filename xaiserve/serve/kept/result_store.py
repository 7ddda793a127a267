"""Results that are asked for now and fetched later, in a store that all ingress replicas share.

::

    results/ID/image, contrast    the pictures, as they came
    results/ID/request.json       what was asked for; with it the result exists
    results/ID/answer-N.gz        what the worker that holds claim N has found
    results/ID/ended.json         created once: which answer counts, and its status
    pending/ID/000000             accepted and not ended
    pending/ID/N                  claim N: written again and again while its worker lives
    owners/DIGEST/ID              whose it is, so that a list reads nobody else's

An ID begins with the time, so that names sort by age.
"""

import gzip
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from xaiserve.errors import ArtifactNotFoundError, ConflictError, NotFoundError
from xaiserve.serve.incoming.requests import ExplainRequest
from xaiserve.serve.kept.accepted import Accepted, accepted_of
from xaiserve.storage import leases
from xaiserve.storage.leases import Lease, mark_key
from xaiserve.storage.objects import ObjectStore, Stored, exists, read_if_there

_ID_TIME: Final = 12
"""Hexadecimal digits of milliseconds in an id."""

_ID_RANDOM: Final = 20

_ID: Final = re.compile(rf"[0-9a-f]{{{_ID_TIME + _ID_RANDOM}}}")

_MARK: Final = re.compile(rf"pending/({_ID.pattern})/[0-9]+")


@dataclass(frozen=True, slots=True)
class Ended:
    """A final answer as it is sent."""

    status: int
    media_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to work on a pending result."""

    id: str
    lease: Lease


class ResultStore:
    """The layout above over a store; every method asks the store and so belongs on a thread.

    Parameters
    ----------
    keep_s
        How long a result is kept, from its acceptance.
    clock
        Seconds since 1970.
    """

    def __init__(
        self, store: ObjectStore, *, keep_s: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._store = store
        self._keep_s = keep_s
        self._clock = clock

    # -- for whoever asks ------------------------------------------------------------------------

    def accept(self, request: ExplainRequest, model: str, owner: str) -> Accepted:
        """Keep a request; when this returns, it will be answered."""
        now = self._clock()
        name = f"{int(now * 1000):0{_ID_TIME}x}{secrets.token_hex(_ID_RANDOM // 2)}"
        accepted = Accepted(id=name, owner=owner, at=now, model=model, request=request)
        for field, data in accepted.pictures.items():
            self._store.write(f"results/{name}/{field}", data)
        self._store.write(f"{_owned(owner)}{name}", b"{}")
        self._store.write(f"results/{name}/request.json", accepted.to_json())
        self._store.write(mark_key(_pending(name), 0), b"{}")
        return accepted

    def document(self, name: str, owner: str) -> dict[str, Any]:  # Any: JSON
        """Return what was asked for.

        Raises
        ------
        NotFoundError
            There is no such result, or it is somebody else's.
        """
        if not _ID.fullmatch(name):
            raise _unknown(name)
        try:
            document: dict[str, Any] = json.loads(self._store.read(f"results/{name}/request.json"))
        except ArtifactNotFoundError:
            raise _unknown(name) from None
        if document["owner"] != owner:
            raise _unknown(name)
        return document

    def ended(self, name: str) -> Ended:
        """Return the final answer of a result that has ended.

        Raises
        ------
        NotFoundError
            It was forgotten meanwhile.
        """
        mark = self.mark(name)
        if mark is None:
            raise _unknown(name)
        try:
            body = gzip.decompress(self._store.read(f"results/{name}/answer-{mark['answer']}.gz"))
        except ArtifactNotFoundError:
            raise _unknown(name) from None
        return Ended(mark["status"], mark["media_type"], body)

    def mark(self, name: str) -> dict[str, Any] | None:  # Any: JSON
        """Return how a result ended, without the answer."""
        data = read_if_there(self._store, f"results/{name}/ended.json")
        return None if data is None else json.loads(data)

    def progress(self, name: str) -> dict[str, Any]:  # Any: JSON
        """Return what the worker said last; empty while none has begun."""
        written = self._store.list(_pending(name))
        data = read_if_there(self._store, written[-1]) if written else None
        return {} if data is None else json.loads(data)

    def names(self, owner: str) -> Sequence[str]:
        """List an owner's results, newest first; some may have been removed meanwhile."""
        names = [key.rpartition("/")[2] for key in self._store.list(_owned(owner))]
        return sorted(filter(_ID.fullmatch, names), reverse=True)

    def forget(self, name: str, owner: str) -> None:
        """Remove a result; whoever works on it notices and stops."""
        self._forget(name)
        self._remove(f"{_owned(owner)}{name}")

    def _forget(self, name: str) -> None:
        keys = [*self._store.list(f"results/{name}/"), *self._store.list(_pending(name))]
        # First what makes it exist: what a crash leaves behind is swept up later.
        for key in sorted(keys, key=lambda key: not key.endswith("/request.json")):
            self._remove(key)

    # -- for whoever works -----------------------------------------------------------------------

    def pending(self) -> Mapping[str, Sequence[Stored]]:
        """Return the marks of what has not ended, oldest first."""
        found: dict[str, list[Stored]] = {}
        for each in self._store.describe("pending/"):
            if mark := _MARK.fullmatch(each.key):  # file systems keep other files there, too
                found.setdefault(mark[1], []).append(each)
        return found

    def claim(self, name: str, marks: Sequence[Stored]) -> Claim | None:
        """Claim a pending result that nobody holds; None when somebody does.

        Parameters
        ----------
        marks
            Its entry in `pending`.
        """
        if leases.is_held(marks[-1], self._clock()):
            return None
        lease = leases.take(self._store, _pending(name), marks, {"progress": None})
        return None if lease is None else Claim(name, lease)

    def renew(self, claim: Claim, progress: Mapping[str, object]) -> bool:
        """Go on holding a claim; False when it is lost, or the result was forgotten."""
        if not leases.renew(self._store, claim.lease, progress):
            return False
        if exists(self._store, f"results/{claim.id}/request.json"):
            return True
        self.release(claim)  # forgotten meanwhile, and the mark was written after that
        return False

    def release(self, claim: Claim) -> None:
        """Let another worker take it now."""
        leases.release(self._store, claim.lease)

    def request(self, name: str) -> Accepted | None:
        """Read a request again; None when it was forgotten meanwhile.

        Raises
        ------
        InvalidInputError, NotFoundError
            Its method is not there any more, or not with these parameters.
        """
        data = read_if_there(self._store, f"results/{name}/request.json")
        if data is None:
            return None
        document = json.loads(data)
        fields = ["image", *(["contrast"] if document["contrast"] else [])]
        try:
            pictures = {field: self._store.read(f"results/{name}/{field}") for field in fields}
        except ArtifactNotFoundError:
            return None
        return accepted_of(document, pictures)

    def finish(self, claim: Claim, ended: Ended) -> None:
        """Publish an answer, unless there is one already or nobody wants it any more."""
        name = claim.id
        if read_if_there(self._store, f"results/{name}/request.json") is not None:
            number = claim.lease.number
            key = f"results/{name}/answer-{number}.gz"
            self._store.write(key, gzip.compress(ended.body, compresslevel=3))
            mark = {"answer": number, "status": ended.status, "media_type": ended.media_type}
            mark["at"] = self._clock()
            with suppress(ConflictError):
                data = json.dumps(mark).encode()
                self._store.write(f"results/{name}/ended.json", data, create_only=True)
        self.settle(name)

    def settle(self, name: str) -> None:
        """Take an ended result off the list of pending ones."""
        for key in self._store.list(_pending(name)):
            self._remove(key)

    def sweep(self) -> None:
        """Forget what was kept long enough, and what a crash has left of others."""
        oldest = f"{int((self._clock() - self._keep_s) * 1000):0{_ID_TIME}x}"
        for folder in ("results", "pending"):
            names = {key.split("/")[1] for key in self._store.list(f"{folder}/")}
            for name in sorted(name for name in names if name < oldest):
                self._forget(name)
        for key in self._store.list("owners/"):
            if key.rpartition("/")[2] < oldest:
                self._remove(key)

    def _remove(self, key: str) -> None:
        with suppress(ArtifactNotFoundError):  # others remove as well
            self._store.remove(key)


def _pending(name: str) -> str:
    return f"pending/{name}/"


def _owned(owner: str) -> str:
    return f"owners/{hashlib.sha256(owner.encode()).hexdigest()}/"


def _unknown(name: str) -> NotFoundError:
    return NotFoundError(
        f"result {name!r} does not exist, or was removed, or its time is over; /v1/results lists "
        "those of this API key"
    )
