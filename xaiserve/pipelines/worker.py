"""`Worker`: what one process of a job does; Ray Data calls it as a class."""

from dataclasses import asdict, dataclass
from typing import Any, cast

import torch

from xaiserve.contrasts.base import Ask, ContrastProvider, asker
from xaiserve.contrasts.opening import open_provider
from xaiserve.errors import ModelUnavailableError, StoreUnavailableError, XaiServeError
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.classifier import Classifier
from xaiserve.models.frame import Frame
from xaiserve.models.loading import load_classifier
from xaiserve.models.precision import checked_precision
from xaiserve.models.sources import Format
from xaiserve.models.spec import ModelSpec
from xaiserve.perturb.engine import Engine
from xaiserve.pipelines.config import JobConfig
from xaiserve.pipelines.tasks import Chunk
from xaiserve.pipelines.work import Bench, Finisher
from xaiserve.storage.opening import open_store
from xaiserve.storage.records import RowFormat
from xaiserve.storage.results import ResultSet

Batch = dict[str, Any]
"""A block of Ray Data: a list or array per column."""  # hence Any


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
    fault
        Why nothing was published; empty otherwise. No image's fault, so the job must end.
    of_store
        The fault is the store's.
    """

    done: int = 0
    failed: int = 0
    model_inputs: int = 0
    fault: str = ""
    of_store: bool = False


class Worker:
    """Explains chunks and publishes each as one Parquet part.

    A chunk that is done twice, because its first worker died, writes the same file again.
    """

    def __init__(self, order: WorkOrder) -> None:
        torch.set_num_threads(order.threads)
        config = order.config
        model = load_model(config, threads=order.threads)
        if model.digest != order.model_digest:
            raise ModelUnavailableError(
                f"model {config.model} in {config.model_source} differs between machines: digest "
                f"{model.digest[:12]} here, {order.model_digest[:12]} where the job started"
            )
        self._order = order
        self._engine = Engine(model)
        self._contrasts = open_contrasts(config, model.spec, asker(self._engine))
        self._results = ResultSet(open_store(config.out), order.config_digest)

    def __call__(self, batch: Batch) -> Batch:
        """Publish the chunks of one block; Ray Data's interface to `publish`."""
        reports = [asdict(self.publish(Chunk.from_json(text))) for text in batch["chunk"]]
        return {name: [report[name] for report in reports] for name in reports[0]}

    def publish(self, chunk: Chunk) -> PartReport:
        """Explain one chunk and publish its rows, all of them or none."""
        config, finisher = self._order.config, self._order.finisher
        explainer = make_explainer(chunk.method, config.options.get(chunk.method))
        bench = Bench(
            explainer,
            self._engine,
            finisher,
            config.seed,
            config.max_inputs,
            contrasts=self._contrasts,
        )
        row_format = RowFormat(finisher.result_type(explainer), Frame)
        try:
            finished = bench.explain(chunk.tasks)
            self._results.write_part([(each.row, each.result) for each in finished], row_format)
        except XaiServeError as error:
            return PartReport(fault=str(error), of_store=isinstance(error, StoreUnavailableError))
        return PartReport(
            done=len(finished),
            failed=sum(each.row.status in {"error", "invalid_image"} for each in finished),
            model_inputs=sum(each.row.model_inputs for each in finished),
        )


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
