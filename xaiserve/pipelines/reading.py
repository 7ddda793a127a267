"""Whole rows of a few images of a job, read back as explanations."""

from collections.abc import Mapping, Sequence
from typing import Any

from xaiserve.explainers.base import Explanation
from xaiserve.explainers.registry import make_explainer
from xaiserve.models.frame import Frame
from xaiserve.pipelines.finishing import result_type
from xaiserve.pipelines.pointing import pointed
from xaiserve.storage.dataset import find_rows
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.records import RowFormat, TaskRow

Row = Mapping[str, Any]
"""Columns by name."""  # Any: they differ in type


def stored_results(
    store: ObjectStore, method: str, row_ids: Sequence[str]
) -> list[tuple[TaskRow, Explanation, Row]]:
    """Read the explanations that one method has of some images, in the order asked for.

    Rows without an explanation are left out; each explanation comes with all columns of its row.
    """
    kind = result_type(make_explainer(method))
    found: dict[str, tuple[TaskRow, Explanation, Row]] = {}
    for few in find_rows(store, method, row_ids):
        row_format = RowFormat(pointed(kind) if "mask_uri" in few.column_names else kind, Frame)
        for (task, result), row in zip(row_format.from_table(few), few.to_pylist(), strict=True):
            if result is not None:
                found[task.row_id] = (task, result, row)
    return [found[row_id] for row_id in row_ids if row_id in found]
