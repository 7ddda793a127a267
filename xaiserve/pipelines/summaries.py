"""`Summary`: what a finished job found, read back from its rows."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from xaiserve.explainers.registry import make_explainer
from xaiserve.metrics import summary as scores
from xaiserve.metrics.estimates import Estimate
from xaiserve.pipelines.config import JobConfig
from xaiserve.pipelines.finishing import finds_sets
from xaiserve.pipelines.tables import columns_for, is_scored, table_of
from xaiserve.pipelines.totals import Totals, read_totals
from xaiserve.storage.dataset import each_row
from xaiserve.storage.objects import ObjectStore

SUMMARY: Final = "_summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a job found.

    Parameters
    ----------
    table
        Scores per method with intervals, for the pointing game chance and centre beside them; none
        for a job that scores nothing.
    explanations
        For each method that finds several explanations: how many images have how many in the
        selected family, by that number.
    """

    totals: Totals
    table: scores.Summary | None
    explanations: Mapping[str, Mapping[int, int]]

    def to_json(self) -> dict[str, Any]:  # Any: JSON
        if self.table is None:
            return self.totals.to_json()
        return {
            **self.totals.to_json(),
            "classes": self.table.classes,
            "scores": [_method_json(each, self.table) for each in self.table.methods],
            "explanations_per_image": {
                method: {str(number): images for number, images in sorted(counts.items())}
                for method, counts in self.explanations.items()
            },
        }

    def render(self) -> str:
        """Lay out the table and the numbers of explanations as plain text."""
        if self.table is None:
            return ""
        lines = [scores.render_table(self.table)]
        for method, counts in self.explanations.items():
            told = ", ".join(f"{number}: {counts[number]}" for number in sorted(counts))
            lines.append(f"explanations per image by {method} (explanations: images)  {told}")
        return "\n\n".join(lines)


def summarise(store: ObjectStore, config: JobConfig) -> Summary:
    """Read the rows of a job and aggregate them, in memory that does not grow with them.

    But for 8 bytes per image where there are several methods; see `metrics.gathering`.
    """
    totals = read_totals(store)
    if not is_scored(config.kind, config.scores):
        return Summary(totals=totals, table=None, explanations={})
    rows = each_row(store, columns_for(config.kind, config.scores))
    return Summary(
        totals=totals,
        table=table_of(rows, config.kind, config.scores, config.seed),
        explanations={
            method: explanation_counts(store, method)
            for method in config.methods
            if finds_sets(make_explainer(method, config.options.get(method)))
        },
    )


def publish(store: ObjectStore, config: JobConfig) -> Summary:
    """Summarise a job, and write ``_summary.json`` beside its rows if it has scores."""
    found = summarise(store, config)
    if found.table is not None:
        store.write(SUMMARY, json.dumps(found.to_json(), indent=1).encode())
    return found


def explanation_counts(store: ObjectStore, method: str) -> Mapping[int, int]:
    """Count images by the number of explanations in the family that a method selected."""
    rows = each_row(store, ["selected", "status"], methods=[method])
    return Counter(len(row["selected"]) for row in rows if row["status"] == "ok")


def _method_json(each: scores.MethodSummary, table: scores.Summary) -> dict[str, Any]:
    return {
        "method": each.method,
        "images": each.images,
        "not_scored": dict(each.nulls),
        **{
            column.metric: {"micro": _estimate(cell.micro), "macro": _estimate(cell.macro)}
            for column, cell in zip(table.columns, each.cells, strict=True)
        },
    }


def _estimate(found: Estimate | None) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {"value": found.value, "low": found.low, "high": found.high}
