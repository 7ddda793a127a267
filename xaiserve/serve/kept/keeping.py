"""What a service keeps: what must outlive a request, and outlive the service itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from xaiserve.dispatch.metrics import Meter
from xaiserve.serve.config import state_folder
from xaiserve.serve.incoming.requests import ClassifierPort
from xaiserve.serve.kept.explanations import Explanations
from xaiserve.serve.kept.idempotency import Replays
from xaiserve.serve.kept.result_cache import ResultCache
from xaiserve.serve.kept.result_store import ResultStore
from xaiserve.serve.kept.results import Results
from xaiserve.serve.settings import Answers
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.opening import open_store


@dataclass(frozen=True, slots=True)
class Kept:
    """The parts of a service that share its store."""

    explanations: Explanations
    replays: Replays
    results: Results


def open_answers(settings: Answers) -> ObjectStore:
    """Open the store of a service's answers; by default a folder that only its user may read."""
    if settings.store is not None:
        return open_store(settings.store)
    folder = state_folder() / "xaiserve" / "answers"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return open_store(folder)


def keep(settings: Answers, models: Mapping[str, ClassifierPort], meter: Meter) -> Kept:
    """Make what keeps the answers of these models."""
    store = open_answers(settings)
    cache = ResultCache(store, max_bytes=settings.cache_bytes) if settings.cache_bytes else None
    explanations = Explanations(cache, meter)
    replays = Replays(store, keep_s=settings.keep_seconds)
    results = Results(
        ResultStore(store, keep_s=settings.keep_seconds),
        explanations,
        models,
        running=settings.running,
        waiting=settings.waiting,
        keep_s=settings.keep_seconds,
        max_seconds=settings.max_seconds,
        sweeps=(replays.sweep,),
    )
    return Kept(explanations, replays, results)
