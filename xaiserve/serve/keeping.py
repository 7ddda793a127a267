"""Where a service keeps what must outlive a request, and outlive itself."""

from pathlib import Path

from xaiserve.serve.result_cache import ResultCache
from xaiserve.serve.settings import Answers
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.opening import open_store


def open_answers(settings: Answers) -> ObjectStore:
    """Open the store of a service's answers; by default a folder that only its user may read."""
    if settings.store is not None:
        return open_store(settings.store)
    folder = Path.home() / ".local" / "state" / "xaiserve" / "answers"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open_store(folder)


def result_cache(store: ObjectStore, settings: Answers) -> ResultCache | None:
    """Make the cache that the settings ask for, if any."""
    if not settings.cache_bytes:
        return None
    return ResultCache(store, max_bytes=settings.cache_bytes)
