"""Answers kept by what decides them, so that a repeat costs no model input."""

import gzip
import logging
import threading
from contextlib import suppress
from typing import Final

from xaiserve.errors import ArtifactNotFoundError, XaiServeError
from xaiserve.serve.bodies.explanations import ExplainBody
from xaiserve.storage.objects import ObjectStore

_log = logging.getLogger(__name__)

FOLDER: Final = "cache"

MARGIN: Final = 8
"""The cache is looked through whenever another eighth of its bound was written."""


class ResultCache:
    """Answers in a store that any number of processes share; thread-safe.

    A store that fails is logged and costs a search, never a request.

    Parameters
    ----------
    max_bytes
        What is kept longest goes first, so that no more than this is kept; each process beyond
        the first may exceed it by an eighth.
    """

    def __init__(self, store: ObjectStore, *, max_bytes: int) -> None:
        self._store = store
        self._max_bytes = max_bytes
        self._margin = max_bytes // MARGIN
        # As if that much was written: what an earlier process left is looked through at once.
        self._written = self._margin
        self._lock = threading.Lock()

    def find(self, result: str) -> ExplainBody | None:
        """Return the answer that was kept under this id."""
        try:
            data = self._store.read(_key(result))
        except ArtifactNotFoundError:
            return None
        except XaiServeError as error:
            _log.warning("the result cache is not read: %s", error)
            return None
        try:
            return ExplainBody.model_validate_json(gzip.decompress(data))
        except (OSError, EOFError, ValueError) as error:
            _log.warning("answer %s of the result cache is damaged: %s", result, error)
            return None

    def keep(self, result: str, body: ExplainBody) -> None:
        """Keep an answer, and drop the oldest when there are too many."""
        data = gzip.compress(body.model_dump_json().encode(), compresslevel=3)
        if len(data) > self._max_bytes // 2:
            return
        try:
            self._store.write(_key(result), data)
            with self._lock:
                self._written += len(data)
                full = self._written > self._margin
                self._written = 0 if full else self._written
            if full:
                self._evict()
        except XaiServeError as error:
            _log.warning("an answer is not kept: %s", error)

    def _evict(self) -> None:
        kept = sorted(self._store.describe(f"{FOLDER}/"), key=lambda each: each.modified)
        excess = sum(each.size for each in kept) - (self._max_bytes - self._margin)
        for each in kept:
            if excess <= 0:
                return
            with suppress(ArtifactNotFoundError):  # another process evicts as well
                self._store.remove(each.key)
            excess -= each.size


def _key(result: str) -> str:
    return f"{FOLDER}/{result[:2]}/{result}.json.gz"
