"""The row of a task: what is asked, by what and when, however it ended."""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

from xaiserve.errors import NoExplanationError
from xaiserve.explainers.base import Explainer
from xaiserve.models.classifier import Classifier
from xaiserve.perturb.case import Contrast
from xaiserve.pipelines.tasks import Task, describe
from xaiserve.storage.records import Status, TaskRow
from xaiserve.storage.results import digest_of

_VERSION: Final = version("xaiserve")


@dataclass(frozen=True, slots=True)
class RowMaker:
    """What all rows of a method on a model repeat; see `work.Bench`."""

    explainer: Explainer
    model: Classifier
    seed: int
    max_inputs: int | None
    now: Callable[[], dt.datetime]

    def row(
        self,
        task: Task,
        status: Status,
        error: Exception | None,
        *,
        image_sha256: str = "",
        contrast: Contrast | None = None,
        **found: Any,  # Any: fields of the row, which differ in type
    ) -> TaskRow:
        """Make one; ``found`` are the fields that are known of its image and explanation."""
        method, spec = describe(self.explainer), self.model.spec
        deciding = [image_sha256, found.get("target"), self.model.digest, method, self.seed]
        drawn = [contrast.provider, contrast.digest] if contrast else []
        return TaskRow(
            task_id=task.task_id,
            row_id=task.row.row_id,
            result_id=digest_of([*deciding, self.max_inputs, *drawn]),
            image_uri=task.row.uri,
            image_name=task.row.uri.rpartition("/")[2],
            image_sha256=image_sha256,
            model_name=self.model.name,
            model_digest=self.model.digest,
            method=self.explainer.name,
            method_version=self.explainer.version,
            params_json=json.dumps(method["parameters"], sort_keys=True),
            seed=self.seed,
            status=status,
            error_kind=None if error is None else type(error).__name__,
            error_text=None if error is None else str(error),
            height=spec.height,
            width=spec.width,
            xaiserve_version=_VERSION,
            created_at=self.now(),
            **found,
        )


def status_of(error: Exception | None) -> Status:
    """Say how a task ended whose image was read."""
    if error is None:
        return "ok"
    return "none" if isinstance(error, NoExplanationError) else "error"
