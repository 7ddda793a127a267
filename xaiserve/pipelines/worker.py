"""`Worker`: what one process of a job does; Ray starts it as an actor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import cast

import torch

from xaiserve.contrasts.base import Ask, ContrastProvider, asker
from xaiserve.contrasts.opening import open_provider
from xaiserve.errors import ModelUnavailableError, StoreUnavailableError, XaiServeError
from xaiserve.explainers.base import Explainer, Explanation
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.classifier import Classifier
from xaiserve.models.frame import Frame
from xaiserve.models.loading import load_classifier
from xaiserve.models.precision import checked_precision
from xaiserve.models.sources import Format
from xaiserve.models.spec import ModelSpec
from xaiserve.perturb.engine import Engine
from xaiserve.pipelines.config import JobConfig
from xaiserve.pipelines.filtering import filterable, with_statistics
from xaiserve.pipelines.finishing import Finisher
from xaiserve.pipelines.scoring import CurveScores, Scorer, with_columns
from xaiserve.pipelines.tasks import Chunk
from xaiserve.pipelines.work import Bench, Finished
from xaiserve.storage.dataset import Part
from xaiserve.storage.merging import Merge, merge
from xaiserve.storage.opening import open_store
from xaiserve.storage.outcomes import FAILURES
from xaiserve.storage.records import RowFormat
from xaiserve.storage.results import ResultSet


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkOrder:
    """All that a worker is told; small, for it travels to every process.

    Parameters
    ----------
    config_digest
        Of the settings that the output holds.
    model_digest
        The model that the tasks are about; a worker that finds another refuses.
    """

    config: JobConfig
    config_digest: str
    model_digest: str
    finisher: Finisher
    threads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReport:
    """What became of one chunk.

    Parameters
    ----------
    failed
        Rows without an explanation that should have one.
    model_inputs
        Of explanations and scores.
    seconds
        From the first image to the published part.
    fault
        Why nothing was published; empty otherwise. No image's fault, so the job must end.
    of_store
        The fault is the store's.
    """

    done: int = 0
    failed: int = 0
    model_inputs: int = 0
    seconds: float = 0.0
    fault: str = ""
    of_store: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Desk:
    """What a worker loads once, when it has something to do."""

    engine: Engine
    contrasts: ContrastProvider | None
    drawing: Lock


class Worker:
    """Explains chunks and publishes each as one Parquet part, several at a time.

    A chunk that is done twice, because its first worker died, writes the same file again.
    """

    def __init__(self, order: WorkOrder) -> None:
        self._order = order
        self._loading = Lock()
        self._loaded: _Desk | None = None
        self._store = open_store(order.config.out)

    def publish(self, chunk: Chunk) -> PartReport:
        """Explain one chunk and publish its rows, all of them or none."""
        return self._done(chunk, self._write)

    def probe(self, chunk: Chunk) -> PartReport:
        """Explain one chunk and publish nothing, to see what it costs."""
        return self._done(chunk, lambda _method, _rows: None)

    def merge(self, wanted: Merge) -> Part:
        """Write one file of merged rows."""
        return merge(self._store, wanted)

    def _done(self, chunk: Chunk, use: Callable[[str, Sequence[Finished]], None]) -> PartReport:
        started = monotonic()
        try:
            bench = self._bench(chunk.method)
            rows = bench.lost(chunk.tasks, chunk.lost) if chunk.lost else bench.explain(chunk.tasks)
            use(chunk.method, rows)
        except XaiServeError as error:
            return PartReport(fault=str(error), of_store=isinstance(error, StoreUnavailableError))
        return PartReport(
            done=len(rows),
            failed=sum(each.row.status in FAILURES for each in rows),
            model_inputs=sum(each.row.model_inputs + each.score_inputs for each in rows),
            seconds=monotonic() - started,
        )

    def _write(self, method: str, rows: Sequence[Finished]) -> None:
        row_format = RowFormat(self._stored_type(method), Frame)
        results = ResultSet(self._store, self._order.config_digest)
        results.write_part([(each.row, _stored(each.result)) for each in rows], row_format)

    def _stored_type(self, method: str) -> type[Explanation]:
        found = self._order.finisher.result_type(self._explainer(method))
        return filterable(with_columns(found, CurveScores) if self._order.config.scores else found)

    def _bench(self, method: str) -> Bench:
        desk, config = self._desk(), self._order.config
        return Bench(
            self._explainer(method),
            desk.engine,
            self._order.finisher,
            config.seed,
            config.max_inputs,
            contrasts=desk.contrasts,
            drawing=desk.drawing,
            scorer=Scorer(desk.engine, config.seed) if config.scores else None,
        )

    def _explainer(self, method: str) -> Explainer:
        return make_explainer(method, self._order.config.options.get(method))

    def _desk(self) -> _Desk:
        with self._loading:
            if self._loaded is None:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> _Desk:
        order, config = self._order, self._order.config
        torch.set_num_threads(order.threads)
        model = load_model(config, threads=order.threads)
        if model.digest != order.model_digest:
            raise ModelUnavailableError(
                f"model {config.model} in {config.model_source} differs between machines: digest "
                f"{model.digest[:12]} here, {order.model_digest[:12]} where the job started"
            )
        engine = Engine(model)
        return _Desk(engine, open_contrasts(config, model.spec, asker(engine)), Lock())


def _stored(result: Explanation | None) -> Explanation | None:
    return None if result is None else with_statistics(result)


def open_contrasts(
    config: JobConfig, spec: ModelSpec, ask: Ask, *, images: int | None = None
) -> ContrastProvider | None:
    """Open what a job's contrast pictures come from, if it says so.

    ``images`` says how many will ask; a worker need not know, for the job has been checked.
    """
    if config.contrasts is None:
        return None
    return open_provider(
        config.contrasts,
        spec,
        ask,
        images=images,
        device=config.translator_device or config.device,
    )


def load_model(config: JobConfig, *, threads: int | None = None) -> Classifier:
    """Load the model that a configuration names."""
    return load_classifier(
        config.model_source,
        device=config.device,
        precision=checked_precision(config.precision),
        name=config.model,
        file_format=cast("Format | None", config.model_format),
        trust_code=config.trust_code,
        threads=threads,
    )
