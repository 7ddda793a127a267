"""The ``pointing-game`` job: explain, and compare with the ground truth of each image."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from typing_extensions import override

from xaiserve.errors import InvalidInputError
from xaiserve.explainers.registry import make_explainer
from xaiserve.metrics import summary as scores
from xaiserve.metrics.grid_pointing import GridPointingGame
from xaiserve.metrics.pointing_game import EnergyPointingGame, PointingGame
from xaiserve.metrics.summary import ScoreRow
from xaiserve.perturb.rng import Keys
from xaiserve.pipelines.cluster import Placement
from xaiserve.pipelines.config import JobConfig
from xaiserve.pipelines.dataset import Job, plan_job, run_job
from xaiserve.pipelines.pointing import PointingFinisher
from xaiserve.pipelines.progress import Progress
from xaiserve.pipelines.totals import Totals, read_totals
from xaiserve.pipelines.work import finds_sets
from xaiserve.storage.dataset import read_rows
from xaiserve.storage.objects import ObjectStore
from xaiserve.storage.opening import open_store

SUMMARY: Final = "summary.json"

SCORED: Final = (
    *("pointing_game", "pointing_game_reason", "pointing_game_chance", "pointing_game_centre"),
    *("energy", "energy_reason", "energy_chance", "energy_centre"),
    *("grid_pointing", "grid_pointing_reason", "grid_pointing_chance", "grid_pointing_centre"),
)
"""Columns that the table is made from, beside `_COMMON`."""

_COMMON: Final = ("method", "row_id", "target_label", "status")
_METRICS: Final = {
    "pointing_game": PointingGame.measure.name,
    "energy": EnergyPointingGame.measure.name,
    "grid_pointing": GridPointingGame.measure.name,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(JobConfig):
    """See `JobConfig`; every row of the input has ground truth: a mask, boxes or outlines.

    Parameters
    ----------
    tolerance_px
        Radius of the pointing game's disc in pixels of the model's input, at least 0.
    """

    kind: ClassVar[str] = "pointing-game"

    tolerance_px: float = 15.0

    @override
    def __post_init__(self) -> None:
        super(Config, self).__post_init__()  # a class with slots has no zero-argument super
        if not self.tolerance_px >= 0:
            raise InvalidInputError(f"tolerance_px must be at least 0, got {self.tolerance_px}")

    @override
    def deciding(self) -> dict[str, Any]:
        return {**super(Config, self).deciding(), "tolerance_px": self.tolerance_px}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a pointing-game job found.

    Parameters
    ----------
    table
        Scores per method with intervals, chance and centre beside them.
    explanations
        For each method that finds several explanations: how many images have how many in the
        selected family, by that number.
    """

    totals: Totals
    table: scores.Summary
    explanations: Mapping[str, Mapping[int, int]]

    def to_json(self) -> dict[str, Any]:  # Any: JSON
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
        lines = [scores.render_table(self.table)]
        for method, counts in self.explanations.items():
            told = ", ".join(f"{number}: {counts[number]}" for number in sorted(counts))
            lines.append(f"explanations per image by {method} (explanations: images)  {told}")
        return "\n\n".join(lines)


def plan(config: Config) -> Job:
    """Plan the job.

    Raises
    ------
    InvalidInputError
        An image has no ground truth.
    XaiServeError
        See `plan_job`.
    """
    job = plan_job(config, PointingFinisher(config.tolerance_px))
    if job.known.without_truth is not None:
        raise InvalidInputError(
            "images must be COCO annotations, or a manifest with boxes or a mask for every row, "
            f"{job.known.without_truth!r} has none"
        )
    return job


def run(
    config: Config, placement: Placement, tell: Callable[[Progress], None] = lambda _: None
) -> Summary:
    """Explain a data set and score it; the summary is published as ``summary.json``, too.

    Raises
    ------
    XaiServeError
        See `plan` and `run_job`.
    """
    run_job(plan(config), placement, tell)
    store = open_store(config.out)
    found = summarise(store, config)
    store.write(SUMMARY, json.dumps(found.to_json(), indent=1).encode())
    return found


def summarise(store: ObjectStore, config: Config) -> Summary:
    """Read the rows of a job and aggregate them."""
    rows = read_rows(store, _COMMON + SCORED).to_pylist()
    return Summary(
        totals=read_totals(store),
        table=scores.summarise(score_rows(rows), Keys.root(config.seed, "summary")),
        explanations={
            method: explanation_counts(store, method)
            for method in config.methods
            if finds_sets(make_explainer(method, config.options.get(method)))
        },
    )


def score_rows(rows: Iterable[Mapping[str, Any]]) -> Iterator[ScoreRow]:
    """Turn a job's rows into scores, those of the blind methods once per image."""
    blind = set()
    for row in rows:
        if row["status"] == "invalid_image":  # it has no class, and no region to miss
            continue
        for column, metric in _METRICS.items():
            ok = row["status"] == "ok"
            yield ScoreRow(
                image_id=row["row_id"],
                class_name=row["target_label"],
                method=row["method"],
                metric=metric,
                value=row[column],
                reason=row[f"{column}_reason"] if ok else "query_failed",
            )
            if ok and (row["row_id"], metric) not in blind:
                blind.add((row["row_id"], metric))
                yield from _blind_rows(row, column, metric)


def _blind_rows(row: Mapping[str, Any], column: str, metric: str) -> Iterator[ScoreRow]:
    for method in scores.BASELINES:
        value = row[f"{column}_{method}"]
        yield ScoreRow(
            image_id=row["row_id"],
            class_name=row["target_label"],
            method=method,
            metric=metric,
            value=value,
            reason="" if value is not None else "empty_mask",
        )


def explanation_counts(store: ObjectStore, method: str) -> Mapping[int, int]:
    """Count images by the number of explanations in the family that a method selected."""
    rows = read_rows(store, ["selected", "status"], methods=[method]).to_pylist()
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


def _estimate(found: Any) -> dict[str, float | None] | None:
    if found is None:
        return None
    return {"value": found.value, "low": found.low, "high": found.high}
